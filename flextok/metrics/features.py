"""Feature extractors of the Frechet video distance. None is ever put in the place of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from flextok.loading.errors import CheckpointError
from flextok.loading.hub import download, is_repo_id

VIDEOMAE = "MCG-NJU/videomae-base-finetuned-kinetics"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 4


class FeatureExtractor(Protocol):
    """Clips to one vector each, and the name that a distance between them goes by."""

    @property
    def name(self) -> str:
        """Of the network."""
        ...

    @property
    def distance_name(self) -> str:
        """Of the Frechet distance on its features; distances of different names are not comparable."""
        ...

    @property
    def num_features(self) -> int: ...

    def __call__(self, video: Tensor) -> Tensor:
        """(n, 3, T, H, W) in [-1, 1] -> (n, num_features)."""
        ...


class VideoMAEFeatures:
    """The mean of VideoMAE's last hidden states, over 16 frames spread evenly, at 224x224.

    The usual FVD is on I3D, whose public weights are pickles or TorchScript, which this library does not execute.
    VideoMAE features judge content more than single frames (arXiv:2404.12391).
    """

    name = "VideoMAE"
    distance_name = "FVD (VideoMAE)"

    def __init__(self, source: str | Path = VIDEOMAE, device: str | torch.device = "cpu") -> None:
        """source: a Hub id or a folder with config.json and model.safetensors.

        Raises:
            CheckpointError: one sentence: transformers is not installed, no network and nothing cached, or weights
                that are not VideoMAE's.
        """
        try:
            from transformers import VideoMAEModel
        except ImportError as error:
            raise CheckpointError("VideoMAE features need transformers: pip install transformers") from error
        if is_repo_id(str(source)):
            folder = download(str(source), ("config.json", "model.safetensors"))
        else:
            folder = Path(source)
        try:
            loader: Any = VideoMAEModel.from_pretrained
            model, report = loader(folder, use_safetensors=True, local_files_only=True, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{source} is not a VideoMAE checkpoint: {error}") from error
        if report["missing_keys"]:
            raise CheckpointError(f"{source} lacks VideoMAE weights: {', '.join(sorted(report['missing_keys'])[:5])}")
        self.model: Any = model.eval().to(device)
        self.num_features = int(model.config.hidden_size)

    @torch.no_grad()
    def __call__(self, video: Tensor) -> Tensor:
        """(n, 3, T, H, W) in [-1, 1], any T and size -> (n, num_features), float32 on the CPU."""
        return torch.cat([self._features(clips) for clips in video.split(BATCH)])

    def _features(self, video: Tensor) -> Tensor:
        config = self.model.config
        index = torch.linspace(0, video.shape[2] - 1, config.num_frames).round().long()
        frames = video[:, :, index].transpose(1, 2)  # (n, t, 3, H, W)
        size = (config.image_size, config.image_size)
        resized = F.interpolate(
            frames.flatten(0, 1), size=size, mode="bilinear", antialias=True, align_corners=False
        ).clamp(-1, 1)
        mean, std = (torch.tensor(v, device=video.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        pixels = ((resized + 1) / 2 - mean) / std
        hidden = self.model(pixels.unflatten(0, frames.shape[:2]).to(self.model.device)).last_hidden_state
        return hidden.mean(1).float().cpu()
