"""Convolutions for video that is causal in time: spatial ones see one frame, temporal ones this frame and earlier ones.

Inside these layers a clip is (b*t, c, h, w) in channels-last memory: spatial convolutions, norms over channels and
pointwise maps then all read contiguous memory, which is what a CPU's bf16 kernels are fast on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """RMSNorm over channels at each position: no statistic crosses space or time, so causality and any size hold."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # channels-last memory: both permutes are views
        # The weight in the input's dtype, so that autocast keeps the fused bf16 kernel.
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), eps=1e-6).permute(0, 3, 1, 2)


class Conv3x3(nn.Module):
    """3x3 convolution inside each frame. The weight is kept as a matrix (out, in * 9), which is how Muon sees it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels * 9) * (9 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unflatten(1, (-1, 3, 3)).to(memory_format=torch.channels_last)
        return F.conv2d(x, weight, self.bias, padding=1)


class TemporalConv(nn.Module):
    """Causal 1-D convolution over latent frames, kernel 3, zero padding in front, at each pixel alone."""

    kernel = 3

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(self.kernel * channels, channels)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        _, c, h, w = x.shape
        frames = x.permute(0, 2, 3, 1).reshape(-1, num_frames, h, w, c)  # (b, t, h, w, c)
        padded = F.pad(frames, (0, 0, 0, 0, 0, 0, self.kernel - 1, 0))  # (b, t + 2, h, w, c)
        taps = torch.cat([padded[:, i : i + num_frames] for i in range(self.kernel)], dim=-1)  # (b, t, h, w, 3c)
        return self.proj(taps).reshape(-1, h, w, c).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions inside each frame, then one causal convolution over time; each with its own residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (ChannelNorm(channels) for _ in range(3))
        self.conv1, self.conv2 = Conv3x3(channels), Conv3x3(channels)
        self.temporal = TemporalConv(channels)
        for last in (self.conv2, self.temporal.proj):  # a residual branch that starts small trains stably at depth
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        x = x + self.conv2(F.silu(self.norm2(y)))
        return x + self.temporal(F.silu(self.norm3(x)), num_frames)
