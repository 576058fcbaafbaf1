"""Muon: momentum with orthogonalised updates for the matrices inside a network (Keller Jordan et al., 2024).

PyTorch's own (2.9 and newer) multiplies in bfloat16 wherever it runs. On a CPU without bfloat16 a register step then
took 10.3 s, against 1.3 s with AdamW. Here the products are in the dtype that is fast on the machine, and matrices of
one shape are orthogonalised together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, overload

import torch
from torch import Tensor

from flextok.checks import bf16_is_fast

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic a x + b x^3 + c x^5, chosen by Jordan for steepness at 0: singular values land in about [0.7, 1.2]."""


class Muon(torch.optim.Optimizer):
    """The interface and the numbers of `torch.optim.Muon`, with products in a dtype that is fast.

    Args:
        params: matrices (2 axes) alone, as parameters or groups.
        lr: of the orthogonalised update, scaled by sqrt(max(1, rows / columns)).
        weight_decay: decoupled, as in AdamW.
        ns_steps: Newton-Schulz iterations.
        products: dtype of the iterations; None takes bfloat16 where `bf16_is_fast`, else float32.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        eps: float = 1e-7,
        ns_steps: int = 5,
        products: torch.dtype | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "eps": eps,
            "ns_steps": ns_steps,
        }
        super().__init__(params, defaults)
        self.products = products
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon is for matrices, got a parameter of shape {tuple(p.shape)}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            for _, same in groupby(sorted(with_gradient, key=_shape), key=_shape):
                self._update(list(same), group)
        return loss

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of one shape."""
        directions = []
        for p in matrices:
            assert p.grad is not None
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p.grad)
            buffer = state["momentum_buffer"]
            buffer.lerp_(p.grad, 1 - group["momentum"])
            directions.append(p.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer)
        rows, columns = matrices[0].shape
        scale = group["lr"] * max(1.0, rows / columns) ** 0.5
        updates = orthogonalised(torch.stack(directions), group["ns_steps"], group["eps"], self.products)
        for p, update in zip(matrices, updates, strict=True):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(update, alpha=-scale)


def orthogonalised(x: Tensor, steps: int = 5, eps: float = 1e-7, products: torch.dtype | None = None) -> Tensor:
    """About U V^T for each x = U S V^T, by Newton-Schulz iteration: (n, rows, columns), in x's dtype."""
    dtype = products or (torch.bfloat16 if bf16_is_fast(x.device) else torch.float32)
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    y = (x.transpose(1, 2) if tall else x).to(dtype)  # the smaller square is multiplied
    y = y / y.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        square = y @ y.transpose(1, 2)
        y = a * y + (b * square + c * square @ square) @ y
    return (y.transpose(1, 2) if tall else y).to(x.dtype)


def _shape(matrix: Tensor) -> tuple[int, ...]:
    return tuple(matrix.shape)
