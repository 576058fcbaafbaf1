"""Seams between chunks: small jumps are faded out, movement stays."""

from __future__ import annotations

import torch

from flextok.pipelines.seams import REACH, TOLERANCE, soften_seam


def test_a_small_jump_fades_out_and_a_large_one_stays() -> None:
    last, frames = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 16, 2, 2)
    last[..., 0, 0] = TOLERANCE / 4  # the whole chunk is off by a little here
    last[..., 1, 1] = 1.0  # an object left this place
    softened = soften_seam(last, frames)
    change = torch.cat([last[:, :, None], softened], dim=2).diff(dim=2).abs()
    assert change[:, :, 0, 0, 0].max() < 0.1 * TOLERANCE / 4
    assert change[..., 0, 0].max() < 1.1 * TOLERANCE / 4 / REACH
    assert torch.equal(softened[:, :, REACH:], frames[:, :, REACH:])
    torch.testing.assert_close(softened[..., 1, 1], frames[..., 1, 1], atol=1e-6, rtol=0)
    assert torch.equal(soften_seam(frames[:, :, 0], frames), frames)
