"""What the pipelines return."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers.utils import BaseOutput
from torch import Tensor


@dataclass
class VideoPipelineOutput(BaseOutput):
    """`frames` (b, 3, T, H, W) in about [-1, 1], not clamped."""

    frames: Tensor
