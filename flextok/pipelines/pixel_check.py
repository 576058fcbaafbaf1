"""What every tokenizer asks of the pixels it is given."""

from __future__ import annotations

from torch import Tensor


def check_pixels(video: Tensor) -> None:
    """Raise ValueError unless `video` holds finite floats of about [-1, 1]; some decoders overshoot a little."""
    if not video.is_floating_point() or not bool(video.isfinite().all()) or float(video.abs().max()) > 1.5:
        raise ValueError("video must be finite float values in [-1, 1]; see flextok.data.to_float for uint8 frames")
