"""Distortion, distribution and alignment. Names are looked up when first used, so importing this is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flextok.metrics.consistency import temporal_consistency
    from flextok.metrics.features import FeatureExtractor, VideoMAEFeatures
    from flextok.metrics.frechet_video import FrechetVideoDistance
    from flextok.metrics.kernel_video import kernel_distance
    from flextok.metrics.perceptual import scorer_distance
    from flextok.metrics.reconstruction import psnr, ssim
    from flextok.metrics.scorer import Scorer, load_scorer
    from flextok.metrics.scores import attribute_accuracy, class_score, strict_text_match, text_match
    from flextok.metrics.sharpness import edge_strength, flicker
    from flextok.metrics.two_sample import two_sample_accuracy

_HOME = {
    "FeatureExtractor": "features",
    "FrechetVideoDistance": "frechet_video",
    "Scorer": "scorer",
    "VideoMAEFeatures": "features",
    "attribute_accuracy": "scores",
    "class_score": "scores",
    "edge_strength": "sharpness",
    "flicker": "sharpness",
    "kernel_distance": "kernel_video",
    "load_scorer": "scorer",
    "psnr": "reconstruction",
    "scorer_distance": "perceptual",
    "ssim": "reconstruction",
    "strict_text_match": "scores",
    "temporal_consistency": "consistency",
    "text_match": "scores",
    "two_sample_accuracy": "two_sample",
}
__all__ = [
    "FeatureExtractor", "FrechetVideoDistance", "Scorer", "VideoMAEFeatures", "attribute_accuracy", "class_score",
    "edge_strength", "flicker", "kernel_distance", "load_scorer", "psnr", "scorer_distance", "ssim",
    "strict_text_match", "temporal_consistency", "text_match", "two_sample_accuracy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"flextok.metrics.{_HOME[name]}"), name)
    raise AttributeError(f"module 'flextok.metrics' has no attribute {name!r}")
