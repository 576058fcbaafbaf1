"""Muon: PyTorch's own numbers, on every dtype of products, for one matrix or many of a shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flextok.training.muon import Muon, orthogonalised


def trained(make: type[torch.optim.Optimizer], shapes: list[tuple[int, int]], **options: object) -> list[torch.Tensor]:
    """Matrices after five steps on fixed gradients."""
    generator = torch.Generator().manual_seed(0)
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    optimizer = make(matrices, lr=0.02, weight_decay=0.01, momentum=0.95, **options)
    for _ in range(5):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch before 2.9 has no Muon to compare with")
def test_it_steps_as_pytorchs_does() -> None:
    shapes = [(16, 16), (24, 16), (16, 40), (24, 16)]
    same = trained(Muon, shapes, products=torch.bfloat16)
    for ours, theirs in zip(same, trained(torch.optim.Muon, shapes), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)  # bfloat16 products in another order
    for ours, theirs in zip(trained(Muon, shapes, products=torch.float32), same, strict=True):
        assert (ours - theirs).abs().max() < 5e-3


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 20, 8), (2, 8, 20)])
def test_updates_are_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_vectors_are_refused_and_missing_gradients_left_alone() -> None:
    with pytest.raises(ValueError, match="matrices"):
        Muon([nn.Parameter(torch.ones(3))])
    one, other = nn.Parameter(torch.eye(4)), nn.Parameter(torch.eye(4))
    one.grad = torch.randn(4, 4)
    Muon([one, other], lr=0.1).step()
    assert torch.equal(other, torch.eye(4))
    assert not torch.equal(one, torch.eye(4))
