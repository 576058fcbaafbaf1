"""The plain path that speed is measured against: the same weights, none of the short cuts.

The VAE here keeps clips as (b, c, t, h, w), folds frames or pixels into the batch for every 2-D and 1-D convolution and
moves channels to the end and back for every norm, as its layers are usually written. It is also an independent check
of `flextok.released.vae`.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.released.denoiser import ChunkTokens
from flextok.released.model import OneChunkModel
from flextok.released.vae import (
    CausalConv1d,
    CausalConv3d,
    Encoder,
    FrameAttention,
    Level,
    Posterior,
    ResidualBlock,
    SpatialDown,
    TemporalDown,
    VidTok,
)


def plain_step(model: OneChunkModel, tokens: ChunkTokens, noisy: Tensor, time: float) -> tuple[Tensor, Tensor]:
    """Conditional and unconditional velocity in one batch, every token laid out, nothing kept from other steps."""
    model.set_plain(True)
    try:
        cond, uncond = model.denoise(tokens, torch.tensor([time], device=noisy.device), guided=True)(noisy, 0)
    finally:
        model.set_plain(False)
    assert uncond is not None
    return cond, uncond


def plain_encode(vidtok: VidTok, video: Tensor) -> Posterior:
    """`VidTok.encode` layer by layer."""
    x = video if video.shape[2] % 4 == 0 else torch.cat([video[:, :, :1]] * 3 + [video], dim=2)
    encoder: Encoder = vidtok.encoder
    x = _volume(encoder.conv_in.conv, x)
    for spatial, temporal in zip(encoder.down, encoder.down_temporal, strict=True):
        x = _level(cast(Level, spatial), cast(Level, temporal), x)
    x = _residual(encoder.mid.block_1, x)
    x = _attention(encoder.mid.attn_1, x)
    x = _residual(encoder.mid.block_2, x)
    x = _volume(encoder.conv_out.conv, F.silu(_norm(encoder.norm_out.norm, x)))
    mean, logvar = x.float().chunk(2, dim=1)
    return Posterior(mean, logvar)


def _level(spatial: Level, temporal: Level, x: Tensor) -> Tensor:
    for in_frames, over_time in zip(spatial.block, temporal.block, strict=True):
        x = _residual(cast(ResidualBlock, in_frames), x)
        x = _residual(cast(ResidualBlock, over_time), x)
    if spatial.resample is not None:
        x = _spatial(cast(SpatialDown, spatial.downsample).conv, F.pad(x, (0, 1, 0, 1)))
    if temporal.resample is not None:
        x = _temporal_down(cast(TemporalDown, temporal.downsample), x)
    return x


def _temporal_down(layer: TemporalDown, x: Tensor) -> Tensor:
    mean = F.avg_pool3d(F.pad(x, (0, 0, 0, 0, 1, 0)), (3, 1, 1), stride=(2, 1, 1))
    a = torch.sigmoid(layer.mix_factor)
    return a * mean + (1 - a) * _volume(layer.conv.conv, x)


def _residual(block: ResidualBlock, x: Tensor) -> Tensor:
    y = _conv(block.conv1, F.silu(_norm(block.norm1.norm, x)))
    y = _conv(block.conv2, F.silu(_norm(block.norm2.norm, y)))
    return (_spatial(block.nin_shortcut, x) if hasattr(block, "nin_shortcut") else x) + y


def _attention(layer: FrameAttention, x: Tensor) -> Tensor:
    b, c, t, h, w = x.shape
    y = _norm(layer.norm.norm, x)
    q, k, v = (_volume(conv.conv, y) for conv in (layer.q, layer.k, layer.v))
    q, k, v = (z.permute(0, 2, 3, 4, 1).reshape(b * t, 1, h * w, c) for z in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v).reshape(b, t, h, w, c).permute(0, 4, 1, 2, 3)
    return x + _volume(layer.proj_out.conv, y)


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3).contiguous()


def _conv(conv: nn.Module, x: Tensor) -> Tensor:
    if isinstance(conv, nn.Conv2d):
        return _spatial(conv, x)
    if isinstance(conv, CausalConv1d):
        return _temporal(conv.conv, x)
    return _volume(cast(CausalConv3d, conv).conv, x)


def _spatial(conv: nn.Conv2d, x: Tensor) -> Tensor:
    b, _, t, _, _ = x.shape
    frames = x.transpose(1, 2).flatten(0, 1).contiguous()  # (b t, c, h, w)
    y = F.conv2d(frames, conv.weight.contiguous(), conv.bias, conv.stride, conv.padding)
    return y.unflatten(0, (b, t)).transpose(1, 2).contiguous()


def _temporal(conv: nn.Conv1d, x: Tensor) -> Tensor:
    b, c, t, h, w = x.shape
    pixels = x.permute(0, 3, 4, 1, 2).reshape(b * h * w, c, t)
    y = F.conv1d(F.pad(pixels, (2, 0)), conv.weight, conv.bias)
    return y.unflatten(0, (b, h, w)).permute(0, 3, 4, 1, 2).contiguous()


def _volume(conv: nn.Conv3d, x: Tensor) -> Tensor:
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    x = F.pad(x, (0, 0, 0, 0, kernel - stride, 0)) if kernel > 1 else x
    padding = (0, kernel // 2, kernel // 2)
    return F.conv3d(x, conv.weight.contiguous(), conv.bias, conv.stride, padding)
