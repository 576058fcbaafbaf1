"""VidTok (arXiv:2412.13061), causal, 4x8x8: the released checkpoints' VAE (KL, 16 channels; contract, section 5) and,
with FSQ, the 3D grid that the paper compares with.

diffusers' `AutoencoderVidTok` cannot stand in for it: it is VidTok 1.1, which repeats the first frame in front of every
causal convolution and doubles frames by interpolation; these checkpoints put zeros there and repeat frames.

Inside, a clip is (b, t, h, w, c) and contiguous. Norms then run over the last axis as they are, spatial convolutions
see a (b t, c, h, w) view in channels-last memory, temporal ones are matrix products, and nothing is copied around.
Inference only: activations are overwritten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from diffusers.utils.accelerate_utils import apply_forward_hook
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from flextok.released.autocast import without_autocast

TEMPORAL_RATIO = 4
SPATIAL_RATIO = 8
LATENT_CHANNELS = 16
CHANNEL_MULTIPLIERS = (1, 2, 4, 4)
SPATIAL_LEVELS = (0, 1, 2)
"""Levels between which height and width change by two."""
TEMPORAL_LEVELS = (1, 2)
"""Levels between which the number of frames changes by two."""
LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class VAESize:
    """What the packaged hyper-parameters leave open; the released checkpoints use the defaults."""

    channels: int = 128
    num_res_blocks: int = 2
    latent_channels: int = LATENT_CHANNELS
    has_variance: bool = True
    """The encoder also gives the posterior's variance; with FSQ there is none."""
    edition: Literal["1.0", "1.1"] = "1.0"


@dataclass(frozen=True)
class Posterior:
    """`mean` and `logvar` (b, c, t, h, w) of the latents; there is no scale or shift beyond them."""

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """mean + exp(logvar / 2) noise; noise is drawn from `generator` unless it is given."""
        if noise is None:
            noise = randn_tensor(self.mean.shape, generator, self.mean.device)
        return self.mean + torch.exp(0.5 * self.logvar.clamp(*LOGVAR_RANGE)) * noise


def latent_frames(num_frames: int) -> int:
    """t = ceil(T / 4): 1 -> 1, 4 -> 1, 5 -> 2, 17 -> 5. Any T is accepted by the encoder."""
    return -(-num_frames // TEMPORAL_RATIO)


class ChannelNorm(nn.Module):
    """LayerNorm over channels; `norm` is the checkpoints' name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class SpatialConv(nn.Conv2d):
    """Convolution inside each frame of (b, t, h, w, c)."""

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1):
            return F.linear(x, self.weight.flatten(1), self.bias)
        frames = x.flatten(0, 1).permute(0, 3, 1, 2)  # (b t, c, h, w), channels-last memory
        return super().forward(frames).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class TemporalConv(nn.Conv1d):
    """Causal convolution over time at each pixel alone, kernel 3, zeros or the first frame in front."""

    repeats_first = False

    def forward(self, x: Tensor) -> Tensor:
        if self.repeats_first:
            front = x[:, :1].expand(-1, 2, -1, -1, -1)
            return self._convolved(torch.cat([front, x], dim=1))[:, 2:]
        return self._convolved(x)

    def _convolved(self, x: Tensor) -> Tensor:
        taps = self.weight.unbind(-1)  # oldest first, each (c_out, c_in)
        y = F.linear(x, taps[-1], self.bias)
        for age, tap in enumerate(reversed(taps[:-1]), start=1):
            if age >= x.shape[1]:
                break
            # One product per clip: each is contiguous, so the sum is accumulated in place.
            for clip, out in zip(x[:, :-age], y[:, age:], strict=True):
                out.flatten(0, 2).addmm_(clip.flatten(0, 2), tap.T)
        return y


class VolumeConv(nn.Conv3d):
    """Causal 3-D convolution: zeros on both sides in space; in time in front only, zeros or the first frame."""

    repeats_first = False

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size, self.stride
        if kernel == (1, 1, 1):
            return F.linear(x, self.weight.flatten(1), self.bias)
        missing = kernel[0] - stride[0]
        if self.repeats_first:
            x = torch.cat([x[:, :1].expand(-1, missing, -1, -1, -1), x], dim=1)  # (b, t + front, h, w, c)
        else:
            x = F.pad(x, (0, 0, 0, 0, 0, 0, missing, 0))
        y = F.conv3d(x.permute(0, 4, 1, 2, 3), self.weight, self.bias, stride, (0, kernel[1] // 2, kernel[2] // 2))
        return y.permute(0, 2, 3, 4, 1)


class CausalConv1d(nn.Module):
    """Holds a temporal convolution under the name `conv`, as the checkpoints do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = TemporalConv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class CausalConv3d(nn.Module):
    """Holds a 3-D convolution under the name `conv`, as the checkpoints do."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, time_stride: int = 1) -> None:
        super().__init__()
        self.conv = VolumeConv(in_channels, out_channels, kernel, (time_stride, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, norm, SiLU, conv, plus a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(in_channels), conv1
        self.norm2, self.conv2 = ChannelNorm(out_channels), conv2
        if in_channels != out_channels:
            self.nin_shortcut = SpatialConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x), inplace=True))
        y = self.conv2(F.silu(self.norm2(y), inplace=True))
        return y.add_(self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


def spatial_block(in_channels: int, out_channels: int) -> ResidualBlock:
    conv1 = SpatialConv(in_channels, out_channels, 3, padding=1)
    return ResidualBlock(in_channels, out_channels, conv1, SpatialConv(out_channels, out_channels, 3, padding=1))


def temporal_block(channels: int) -> ResidualBlock:
    return ResidualBlock(channels, channels, CausalConv1d(channels), CausalConv1d(channels))


def volume_block(channels: int) -> ResidualBlock:
    return ResidualBlock(channels, channels, CausalConv3d(channels, channels), CausalConv3d(channels, channels))


class FrameAttention(nn.Module):
    """Single-head attention over the positions of each frame alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.q, self.k, self.v, self.proj_out = (CausalConv3d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        # (b t, 1, h w, c): one head
        q, k, v = (conv(y).flatten(0, 1).flatten(1, 2).unsqueeze(1) for conv in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).reshape(x.shape)
        return x + self.proj_out(y)


class SpatialDown(nn.Module):
    """Half the height and width; zeros on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SpatialConv(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 0, 0, 1, 0, 1)))


class SpatialUp(nn.Module):
    """Twice the height and width: nearest, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SpatialConv(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        b, t, h, w, c = x.shape
        x = x[:, :, :, None, :, None].expand(b, t, h, 2, w, 2, c).reshape(b, t, 2 * h, 2 * w, c)
        return self.conv(x)


class TemporalDown(nn.Module):
    """Half the frames: a learned mix of the mean over three frames and a convolution, both causal."""

    repeats_first = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, time_stride=2)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1] // 2
        mean = x[:, 0 : 2 * n : 2] + x[:, 1 : 2 * n : 2]  # frames 2i and 2i + 1 ...
        mean[:, 1:] += x[:, 1 : 2 * n - 1 : 2]  # ... and 2i - 1: before the first, zeros or itself
        if self.repeats_first:
            mean[:, 0] += x[:, 0]
        return torch.lerp(self.conv(x), mean / 3, torch.sigmoid(self.mix_factor))


class TemporalUp(nn.Module):
    """Twice the frames: a learned mix of repeated (or interpolated) frames and a causal convolution of them."""

    interpolates = False
    num_first = 1
    """Frames that the first latent frame has become; they and the others are interpolated apart."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.interpolates:
            x = torch.cat([doubled(part) for part in (x[:, : self.num_first], x[:, self.num_first :])], dim=1)
        else:
            x = x.repeat_interleave(2, dim=1)
        return torch.lerp(self.conv(x), x, torch.sigmoid(self.mix_factor))


def doubled(x: Tensor) -> Tensor:
    """Frames (b, t, h, w, c) at twice the rate, linear between their middles."""
    before, after = torch.cat([x[:, :1], x[:, :-1]], dim=1), torch.cat([x[:, 1:], x[:, -1:]], dim=1)
    return torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim=2).flatten(1, 2)


class Middle(nn.Module):
    """Residual block, attention, residual block at the smallest size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            volume_block(channels),
            FrameAttention(channels),
            volume_block(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """Blocks of one level, spatial or temporal, and perhaps a change of size; `forward` is the change of size."""

    def __init__(self, blocks: list[ResidualBlock], name: str, resample: nn.Module | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        if resample is not None:
            self.add_module(name, resample)
        self.resample = name if resample is not None else None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.resample is None else cast(Tensor, getattr(self, self.resample)(x))


def run_level(spatial: Level, temporal: Level, x: Tensor) -> Tensor:
    """Spatial and temporal blocks in turn, then the changes of size."""
    for in_frames, over_time in zip(spatial.block, temporal.block, strict=True):
        x = over_time(in_frames(x))
    return temporal(spatial(x))


class Encoder(nn.Module):
    """Video (b, T, H, W, 3) to the posterior's parameters (b, t, h, w, 2 c), or latents where there is no variance."""

    def __init__(self, size: VAESize) -> None:
        super().__init__()
        widths = [size.channels * m for m in CHANNEL_MULTIPLIERS]
        self.conv_in = CausalConv3d(3, widths[0])
        self.down, self.down_temporal = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            previous = widths[max(level - 1, 0)]
            blocks = [spatial_block(previous if j == 0 else width, width) for j in range(size.num_res_blocks)]
            resample = SpatialDown(width) if level in SPATIAL_LEVELS else None
            self.down.append(Level(blocks, "downsample", resample))
            over_time = [temporal_block(width) for _ in blocks]
            resample_time = TemporalDown(width) if level in TEMPORAL_LEVELS else None
            self.down_temporal.append(Level(over_time, "downsample", resample_time))
        self.mid = Middle(widths[-1])
        self.norm_out = ChannelNorm(widths[-1])
        self.conv_out = CausalConv3d(widths[-1], size.latent_channels * (2 if size.has_variance else 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for spatial, temporal in zip(self.down, self.down_temporal, strict=True):
            x = run_level(cast(Level, spatial), cast(Level, temporal), x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x)), inplace=True))


class Decoder(nn.Module):
    """Latents (b, t, h, w, c) to video (b, 4 t, H, W, 3), of which the first three frames are to be dropped."""

    def __init__(self, size: VAESize) -> None:
        super().__init__()
        widths = [size.channels * m for m in CHANNEL_MULTIPLIERS]
        self.conv_in = CausalConv3d(size.latent_channels, widths[-1])
        self.mid = Middle(widths[-1])
        self.up, self.up_temporal = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            previous = widths[min(level + 1, len(widths) - 1)]
            blocks = [spatial_block(previous if j == 0 else width, width) for j in range(size.num_res_blocks + 1)]
            resample = SpatialUp(width) if level - 1 in SPATIAL_LEVELS else None
            self.up.append(Level(blocks, "upsample", resample))
            over_time = [temporal_block(width) for _ in blocks]
            resample_time = TemporalUp(width) if level in TEMPORAL_LEVELS else None
            self.up_temporal.append(Level(over_time, "upsample", resample_time))
        self.norm_out = ChannelNorm(widths[0])
        self.conv_out = CausalConv3d(widths[0], 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for spatial, temporal in zip(reversed(self.up), reversed(self.up_temporal), strict=True):
            x = run_level(cast(Level, spatial), cast(Level, temporal), x)
        return self.conv_out(F.silu(self.norm_out(x), inplace=True))


class VidTok(nn.Module):
    """Encoder and decoder under the names of the checkpoints."""

    temporal_ratio = TEMPORAL_RATIO
    spatial_ratio = SPATIAL_RATIO

    def __init__(self, size: VAESize) -> None:
        super().__init__()
        self.has_variance = size.has_variance
        self.encoder, self.decoder = Encoder(size), Decoder(size)
        if size.edition == "1.1":
            self._as_edition_1_1()

    def _as_edition_1_1(self) -> None:
        ups = []
        for module in self.modules():
            if isinstance(module, TemporalConv | VolumeConv | TemporalDown):
                module.repeats_first = True
            elif isinstance(module, TemporalUp):
                module.interpolates = True
                ups.append(module)
        for order, module in enumerate(reversed(ups)):  # they run from the smallest size on
            module.num_first = 2**order

    @property
    def dtype(self) -> torch.dtype:
        return self.encoder.conv_in.conv.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where inputs go. Offloaded weights are on the meta device between calls; then it is the hooks' device."""
        hook = getattr(self.encoder.conv_in.conv, "_hf_hook", None)
        execution = getattr(hook, "execution_device", None)
        return torch.device(execution) if execution is not None else next(self.parameters()).device

    @without_autocast
    @apply_forward_hook
    def encode(self, video: Tensor) -> Posterior:
        """video (b, 3, T, H, W) in [-1, 1], any T, H and W divisible by 8 -> float32, t = ceil(T / 4).

        Raises:
            ValueError: another shape.
        """
        if video.ndim != 5 or video.shape[1] != 3 or video.shape[3] % SPATIAL_RATIO or video.shape[4] % SPATIAL_RATIO:
            raise ValueError(
                f"video must be (b, 3, T, H, W) with H and W divisible by {SPATIAL_RATIO}, got {tuple(video.shape)}"
            )
        x = video.permute(0, 2, 3, 4, 1).to(self.dtype)  # (b, T, H, W, 3)
        if x.shape[1] % TEMPORAL_RATIO:
            x = torch.cat([x[:, :1].expand(-1, TEMPORAL_RATIO - 1, -1, -1, -1), x], dim=1)
        moments = self.encoder(x.contiguous()).permute(0, 4, 1, 2, 3).float()  # (b, 2 c or c, t, h, w)
        if not self.has_variance:
            return Posterior(moments, torch.full_like(moments, -math.inf))
        mean, logvar = moments.chunk(2, dim=1)
        return Posterior(mean, logvar)

    @without_autocast
    @apply_forward_hook
    def decode(self, latents: Tensor) -> Tensor:
        """latents (b, c, t, h, w) -> video (b, 3, 4 t - 3, H, W), float32, not clamped."""
        x = self.decoder(latents.permute(0, 2, 3, 4, 1).to(self.dtype).contiguous())
        return x[:, TEMPORAL_RATIO - 1 :].permute(0, 4, 1, 2, 3).float()
