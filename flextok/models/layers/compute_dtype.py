"""The dtype a layer computes in, which is not always that of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def compute_dtype(layer: nn.Linear | nn.Conv2d) -> torch.dtype:
    """Of the weights, or what diffusers' layerwise casting brings them to when the layer is called."""
    registry: Any = getattr(layer, "_diffusers_hook", None)
    casting = None if registry is None else registry.get_hook("layerwise_casting")
    dtype: torch.dtype = layer.weight.dtype if casting is None else casting.compute_dtype
    return dtype
