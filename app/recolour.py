"""Another look for a frame: its hues turned, its brightness and saturation kept."""

from __future__ import annotations

import numpy as np
from PIL import Image


def turn_hue(frame: np.ndarray, degrees: float) -> np.ndarray:
    """uint8 (H, W, 3) with every hue moved by `degrees` around the colour circle; grey stays grey."""
    hsv = np.array(Image.fromarray(frame).convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 360 * 256)) % 256
    return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))
