"""Who may attend whom in the packed sequences of the released checkpoints (contract, section 7.10)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

MASK_MODES = (
    "full",
    "causal",
    "time_block_causal",
    "time_block_causal_last",
    "flexible_time_block_causal_last",
)
UNIFORM_MODES = ("full", "time_block_causal")
"""Modes in which all tokens of a frame are treated alike, so that equal tokens stay equal in every layer."""
CROSS_FRAME_RULES = {
    "prefix2prefix": ("full", "none"),
    "prefix2nonprefix": ("full", "none"),
    "nonprefix2prefix": ("full", "none"),
    "nonprefix2nonprefix": ("full", "none", "causal"),
}


def attention_mask(
    mode: str,
    frames: Tensor,
    indices: Tensor,
    num_prefix: int,
    cross_frame: Mapping[str, str] | None = None,
) -> Tensor:
    """Bool (s, s), True where the query (row) may attend to the key (column).

    Args:
        frames: (s,), the latent frame of each token; rises along the sequence.
        indices: (s,), its index inside the frame.
        num_prefix: tokens per frame of all lists but the last; those come first in a frame.
        cross_frame: for the flexible mode, what queries see of earlier frames, per kind of query and key.
    """
    if mode == "full":
        return torch.ones(len(frames), len(frames), dtype=torch.bool, device=frames.device)
    earlier_or_same = frames[None, :] <= frames[:, None]
    if mode == "time_block_causal":
        return earlier_or_same
    same = frames[None, :] == frames[:, None]
    earlier = earlier_or_same & ~same
    up_to_own = indices[None, :] <= indices[:, None]
    if mode == "causal":
        return earlier | (same & up_to_own)
    prefix = indices < num_prefix
    same_frame = same & (prefix[None, :] | up_to_own)
    if mode == "time_block_causal_last":
        return earlier | same_frame
    assert cross_frame is not None
    mask = same_frame
    for kinds, rule in cross_frame.items():
        query, key = kinds.split("2")
        pairs = (prefix == (query == "prefix"))[:, None] & (prefix == (key == "prefix"))[None, :] & earlier
        if rule == "full":
            mask = mask | pairs
        elif rule == "causal":
            mask = mask | (pairs & up_to_own)
    return mask
