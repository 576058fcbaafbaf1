"""PSNR and SSIM of clips."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from flextok.metrics.reconstruction import psnr, ssim


def test_psnr_is_of_each_clip_and_of_clamped_pixels() -> None:
    reference = torch.zeros(2, 3, 5, 16, 16)
    video = reference + torch.tensor([0.02, 0.2]).reshape(2, 1, 1, 1, 1)
    assert psnr(video, reference).tolist() == pytest.approx([40.0, 20.0], abs=1e-4)  # 10 log10(2^2 / error^2)
    assert psnr(reference + 9, reference).tolist() == pytest.approx([10 * torch.tensor(4.0).log10().item()] * 2)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 16), (3, 3, 4, 16, 16), (3, 5, 16, 16)])
def test_clips_of_other_shapes_are_not_compared(
    metric: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        metric(torch.zeros(3, 3, 5, 16, 16), torch.zeros(shape))
