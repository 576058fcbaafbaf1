"""Distortion of a reconstruction: how far it is from the source, per clip."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure


def psnr(video: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip in dB: (b, 3, T, H, W) in [-1, 1] -> (b,); pixels are clamped first.

    Raises:
        ValueError: the shapes differ.
    """
    require_same_shape(video, reference)
    video, reference = video.clamp(-1, 1), reference.clamp(-1, 1)
    return peak_signal_noise_ratio(video, reference, data_range=2.0, reduction="none", dim=(1, 2, 3, 4))


def ssim(video: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity of each clip, the mean over its frames: (b, 3, T, H, W) in [-1, 1] -> (b,).

    Raises:
        ValueError: the shapes differ.
    """
    require_same_shape(video, reference)
    b = video.shape[0]
    frames = [x.clamp(-1, 1).transpose(1, 2).flatten(0, 1) for x in (video, reference)]  # (b T, 3, H, W)
    values = structural_similarity_index_measure(frames[0], frames[1], data_range=2.0, reduction="none")
    assert isinstance(values, Tensor)  # a pair only with return_full_image
    return values.reshape(b, -1).mean(1)


def require_same_shape(video: Tensor, reference: Tensor) -> None:
    """Raise ValueError unless both are (b, 3, T, H, W) of one shape; broadcasting would compare one clip with many."""
    if video.ndim != 5 or video.shape != reference.shape:
        raise ValueError(
            f"clips to compare must be (b, 3, T, H, W) of one shape, got {tuple(video.shape)} and "
            f"{tuple(reference.shape)}"
        )
