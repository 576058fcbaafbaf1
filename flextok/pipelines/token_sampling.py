"""Drawing token sequences from an autoregressive model: guidance, temperature, top-k, top-p, seeds, forced frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flextok.checks import number, whole_number
from flextok.models.ar_transformer import ARCondition, ARTransformer


@dataclass(frozen=True)
class SamplingSettings:
    """How the next token is drawn.

    Raises:
        ValueError: a value is out of range.
    """

    guidance_scale: float = 1.0
    """1 is no guidance; anything else runs the model on a batch of twice the size."""
    temperature: float = 1.0
    """0 takes the most probable token."""
    top_k: int = 0
    """Only the top_k most probable tokens; 0 is all."""
    top_p: float = 1.0
    """Only the most probable tokens that together have this probability."""

    def __post_init__(self) -> None:
        number("guidance_scale", self.guidance_scale, 0, 100)
        number("temperature", self.temperature, 0, 10)
        whole_number("top_k", self.top_k, 0)
        if number("top_p", self.top_p, 0, 1) == 0:
            raise ValueError("top_p=0 must be in (0, 1]")


@torch.no_grad()
def stream_tokens(
    model: ARTransformer,
    condition: ARCondition,
    unconditional: ARCondition,
    count: int,
    settings: SamplingSettings,
    generators: Sequence[torch.Generator],
    known: Tensor | None = None,
) -> Iterator[Tensor]:
    """Draw the first `count` tokens of each sequence; yields all so far, (b, n), after every token drawn or known.

    Args:
        condition, unconditional: of b sequences.
        generators: one a sequence, so that a clip does not depend on what it is drawn beside.
        known: (b, t0, K) tokens of the first t0 latent frames, kept as they are (frame-conditioned generation).

    Raises:
        ValueError: count is outside 1..max_len.
    """
    order = model.token_order
    if not 1 <= count <= len(order):
        raise ValueError(f"{count} tokens were asked for, this model has 1..{len(order)}")
    guided = settings.guidance_scale != 1.0
    batch = len(generators)
    both = ARCondition.join(condition, unconditional) if guided else condition
    cache, prepared = model.new_cache(2 * batch if guided else batch, count), model.prepare(both)
    frames, places = (p.tolist() for p in order.places())
    device = condition.start.device
    sequence = torch.zeros(batch, 0, dtype=torch.int64, device=device)
    fed = 0
    for index in range(count):
        if known is not None and frames[index] < known.shape[1]:
            token = known[:, frames[index], places[index]].to(device)
        else:
            new = torch.cat([sequence[:, fed:]] * 2) if guided else sequence[:, fed:]
            with torch.inference_mode():  # cheaper calls, which is what single tokens wait for
                logits = model(new, both, cache, prepared)[:, -1]  # (b or 2 b, ids)
            fed = index
            if guided:
                wanted, plain = logits.chunk(2)
                logits = plain + settings.guidance_scale * (wanted - plain)
            token = draw(logits, settings, generators)
        sequence = torch.cat([sequence, token[:, None]], dim=1)
        yield sequence


def draw(logits: Tensor, settings: SamplingSettings, generators: Sequence[torch.Generator]) -> Tensor:
    """One token a row of logits (b, ids): (b,) int64."""
    if settings.temperature == 0:
        return logits.argmax(-1)
    logits = restrict(logits.float() / settings.temperature, settings.top_k, settings.top_p)
    uniform = torch.stack([torch.rand(logits.shape[1], generator=g, device=g.device) for g in generators])
    # The largest of logits plus Gumbel noise is a draw from their softmax; rows do not depend on one another.
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    return (logits + gumbel.to(logits.device)).argmax(-1)


def restrict(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits (b, ids) with all but the most probable ids at minus infinity; the most probable one always stays."""
    if 0 < top_k < logits.shape[1]:
        smallest = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    if top_p < 1:
        ordered, index = logits.sort(dim=-1, descending=True)
        probability = ordered.softmax(-1)
        more_probable = probability.cumsum(-1) - probability  # of all ids before this one together
        ordered = ordered.masked_fill(more_probable >= top_p, float("-inf"))
        logits = torch.full_like(logits, float("-inf")).scatter(1, index, ordered)
    return logits
