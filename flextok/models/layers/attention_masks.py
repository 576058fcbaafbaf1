"""Who may attend whom in a sequence packed by latent frame: [frame 0: list A, list B | frame 1: ...]."""

from __future__ import annotations

import torch
from torch import Tensor


def time_causal_mask(t: int, tokens_per_frame: int, device: torch.device | None = None) -> Tensor:
    """Frame i sees frames <= i, all of them: bool (s, s), s = t * tokens_per_frame, True = may attend."""
    frame = torch.arange(t, device=device).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


def register_mask(t: int, n: int, k: int, device: torch.device | None = None) -> Tensor:
    """The encoder's mask over frames of n patches and then k registers: bool (s, s), s = t * (n + k).

    Patches see patches, registers see patches and registers up to their own index; all of this frame and earlier ones.
    Differs from the paper: registers of *earlier* frames are also seen only up to the own index. So register i depends
    on no register after it anywhere, and a budget of k tokens is computed from k registers alone.
    """
    index = torch.cat([torch.full((n,), -1), torch.arange(k)]).to(device).repeat(t)  # patches count as index -1
    return time_causal_mask(t, n + k, device) & (index[None, :] <= index[:, None])
