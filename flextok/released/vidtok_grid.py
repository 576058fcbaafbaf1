"""The paper's own 3D-grid baseline: VidTok with FSQ (arXiv:2412.13061), `microsoft/VidTok` on the Hub.

Every cell of a latent frame is a token. There is no flow: what a cell says is what the VAE decodes.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.chunking import ChunkPlan
from flextok.loading.errors import CheckpointError, first_line
from flextok.loading.registry import VIDTOK
from flextok.models.contract import Denoiser, TokenizerOutput
from flextok.pipelines.pipeline_tokenizer import Conventions, VideoTokenizerPipeline
from flextok.quantizers.fsq import FSQ
from flextok.released.placement import use_channels_last
from flextok.released.preprocess import to_pixels
from flextok.released.vae import SPATIAL_RATIO, TEMPORAL_RATIO, VAESize, VidTok
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.video.clip import ClipReader

FILE = "checkpoints/vidtok_fsq_causal_488_262144.ckpt"
LEVELS_PER_CHANNEL = 8
CHUNK_FRAMES, OVERLAP = 17, 1
"""Chunks as those of the released register tokenizers, so that budgets of both are of the same frames."""
TRAINING_ONLY = ("loss.", "regularization.")
LICENCE = "MIT"


@dataclass(frozen=True)
class StraightDenoiser:
    """Velocities that lead straight to latents that are known: one Euler step from zeros gives them exactly."""

    latents: Tensor
    sigmas: Tensor

    def __call__(self, noisy: Tensor, index: int) -> tuple[Tensor, Tensor | None]:
        return (noisy - self.latents) / self.sigmas[index].to(noisy.device), None


class VidTokGrid(nn.Module):
    """A `TokenizerModel` around VidTok's FSQ: one token a cell, raster order within a latent frame.

    Args:
        pixels: height and width of its clips; the network takes any that 8 divides.
    """

    kind: Literal["register", "grid"] = "grid"
    takes_short_chunks = True
    can_be_guided = clamps_given_frames = False
    needs_tokens_of_given_frames = zero_noise = True

    def __init__(self, size: VAESize, pixels: int) -> None:
        super().__init__()
        if pixels < SPATIAL_RATIO or pixels % SPATIAL_RATIO:
            raise ValueError(f"pixels={pixels} must be a multiple of {SPATIAL_RATIO}")
        self.vidtok = VidTok(size)
        self.requires_grad_(False)
        self.latent_channels = size.latent_channels
        self.quantizer = FSQ([LEVELS_PER_CHANNEL] * size.latent_channels)
        side = pixels // SPATIAL_RATIO
        self.latent_size = (ChunkPlan(CHUNK_FRAMES, OVERLAP, TEMPORAL_RATIO).chunk_latent, side, side)

    @property
    def token_budgets(self) -> tuple[int, ...]:
        """One: all cells."""
        return (self.latent_size[1] * self.latent_size[2],)

    @property
    def device(self) -> torch.device:
        return self.vidtok.device

    @property
    def dtype(self) -> torch.dtype:
        return self.vidtok.dtype

    @apply_forward_hook
    def encode(self, latents: Tensor, keep_k: int | None = None) -> TokenizerOutput:
        """Latents (b, c, t, h, w) to one token a cell.

        Raises:
            ValueError: keep_k is not the number of cells.
        """
        before = latents.permute(0, 2, 3, 4, 1).flatten(2, 3).float()  # (b, t, h w, c)
        if keep_k not in (None, before.shape[2]):
            raise ValueError(f"keep_k={keep_k}: this grid has {before.shape[2]} cells per latent frame, all needed")
        codes = self.quantizer.quantize(before)
        return TokenizerOutput(self.quantizer.codes_to_ids(codes), codes, before)

    def prefix(self, token_ids: Tensor, keep_k: int | None = None) -> Tensor:
        """The tokens themselves. Raises ValueError unless they are all cells of a frame."""
        (cells,) = self.token_budgets
        if token_ids.shape[2] != cells or keep_k not in (None, cells):
            raise ValueError(f"this grid has {cells} tokens per latent frame, all needed: its cells have no order")
        return token_ids

    @apply_forward_hook
    def denoiser(
        self,
        token_ids: Tensor,
        sigmas: Tensor,
        *,
        keep_k: Tensor | None = None,  # noqa: ARG002 - all, as `prefix` has checked
        given_frames: int = 0,  # noqa: ARG002 - their tokens are among the others
        guided: bool = False,  # noqa: ARG002 - the pipeline has refused it
        like: Denoiser | None = None,  # noqa: ARG002
    ) -> StraightDenoiser:
        """See `TokenizerModel.denoiser`."""
        codes = self.quantizer.ids_to_codes(token_ids)  # (b, t, h w, c)
        latents = codes.unflatten(2, self.latent_size[1:]).permute(0, 4, 1, 2, 3)
        return StraightDenoiser(latents, sigmas)


def load_vidtok_grid(
    path: Path,
    pixels: int,
    fps: float,
    name: str = VIDTOK,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> VideoTokenizerPipeline:
    """The baseline from a file of `microsoft/VidTok`, which is a pickle: read as tensors alone, or refused.

    Raises:
        CheckpointError: it cannot be read, holds anything but plain values and tensors, or is another network's.
        ValueError: pixels is no multiple of 8.
    """
    weights = read_pickled_weights(path)
    with torch.device("meta"):
        grid = VidTokGrid(vidtok_size(weights, path.name), pixels)
    expected = grid.vidtok.state_dict()
    wrong = [key for key in expected if key not in weights or weights[key].shape != expected[key].shape]
    wrong += [key for key in weights if key not in expected]
    if wrong:
        raise CheckpointError(f"{path.name} is no VidTok of a known form: {len(wrong)} tensors differ, e.g. {wrong[0]}")
    grid.vidtok.load_state_dict({key: value.to(dtype or torch.float32) for key, value in weights.items()}, assign=True)
    use_channels_last(grid.eval())
    pipe = VideoTokenizerPipeline(
        grid.vidtok,
        grid,
        RectifiedFlowScheduler(),
        name,
        fps,
        LICENCE,
        num_inference_steps=1,
    )
    reader = ClipReader(pixels, lambda frames: to_pixels(frames, pixels)[None], resized=False)
    plan = ChunkPlan(CHUNK_FRAMES, OVERLAP, TEMPORAL_RATIO)
    pipe.conventions = Conventions(plan, reader, soften_seams=False, save=_refuse_to_save)
    pipe.source, pipe.weight_files = name, (path,)
    return pipe.to(device)


def read_pickled_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of encoder and decoder under their names; no code of the file is run.

    Raises:
        CheckpointError: the file is damaged, or holds more than tensors and plain values.
    """
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path.name} is refused: it is damaged, or would run code when read") from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {first_line(error)}") from error
    inner = stored.get("state_dict", stored) if isinstance(stored, Mapping) else None
    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(f"{path.name} holds no weights")
    return {
        str(key): cast(Tensor, value)
        for key, value in inner.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not str(key).startswith(TRAINING_ONLY)
    }


def vidtok_size(weights: Mapping[str, Tensor], name: str) -> VAESize:
    """Sizes of the network that weights are of; the edition stands in the file's name alone.

    Raises:
        CheckpointError: they are of no VidTok with FSQ.
    """
    first, last, inner = (
        weights.get(key)
        for key in ("encoder.conv_in.conv.weight", "encoder.conv_out.conv.weight", "decoder.conv_in.conv.weight")
    )
    if first is None or last is None or inner is None or inner.ndim != 5:
        raise CheckpointError(
            f"{name} holds no VidTok: encoder.conv_in, encoder.conv_out or decoder.conv_in is missing"
        )
    prefix = "encoder.down.0.block."
    blocks = {key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)}
    channels = inner.shape[1]
    if last.shape[0] != channels or not 1 <= channels <= 16 or not 1 <= len(blocks) <= 16:
        raise CheckpointError(f"{name} is a VidTok without FSQ, which has no tokens")
    edition: Literal["1.0", "1.1"] = "1.1" if "v1_1" in name else "1.0"
    return VAESize(first.shape[0], len(blocks), channels, has_variance=False, edition=edition)


def _refuse_to_save(_pipe: VideoTokenizerPipeline, _folder: Path) -> None:
    raise ValueError(f"the grid baseline is saved by nobody but its authors: load it from {VIDTOK}")
