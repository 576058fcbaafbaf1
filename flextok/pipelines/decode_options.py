"""How tokens are decoded, and the checks that need no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from flextok.guidance import APGSettings
from flextok.pipelines.sampling import ConditionType, GuidanceScale
from flextok.pipelines.settings import check_guidance, check_steps

Generator = torch.Generator | Sequence[torch.Generator]
EndOfStep = Callable[[Any, int, Tensor, dict[str, Any]], dict[str, Any]]
CALLBACK_TENSORS = ("latents",)


@dataclass(frozen=True)
class DecodeOptions:
    """Of `VideoTokenizerPipeline.__call__`, where they are explained."""

    num_inference_steps: int | None = None
    guidance_scale: GuidanceScale | None = None
    conditioning_frames: Tensor | None = None
    generator: Generator | None = None
    latents: Tensor | None = None
    apg: APGSettings | Literal["default"] | None = "default"
    condition_type: ConditionType = "clean"
    latent_size: tuple[int, int, int] | None = None
    callback_on_step_end: EndOfStep | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = CALLBACK_TENSORS

    def check(self) -> None:
        """Raise ValueError with one sentence for what is wrong whatever the model."""
        if self.num_inference_steps is not None:
            check_steps(self.num_inference_steps)
        if self.guidance_scale is not None and not callable(self.guidance_scale):
            check_guidance(self.guidance_scale)
        if self.condition_type not in get_args(ConditionType):
            raise ValueError(
                f"condition_type={self.condition_type!r} must be one of {', '.join(get_args(ConditionType))}"
            )
        if isinstance(self.generator, Sequence) and not self.generator:
            raise ValueError("generator is an empty list")
        if self.latents is not None and (self.latents.ndim != 5 or not len(self.latents)):
            raise ValueError(f"latents must be (b, c, t, h, w), got {tuple(self.latents.shape)}")
        if self.latents is not None and not bool(self.latents.isfinite().all()):
            raise ValueError("latents must be finite numbers")
        if self.latent_size is not None and len(self.latent_size) != 3:
            raise ValueError(f"latent_size={self.latent_size} must be (t, h, w)")
        if wrong := set(self.callback_on_step_end_tensor_inputs) - set(CALLBACK_TENSORS):
            raise ValueError(f"callback_on_step_end_tensor_inputs can be {CALLBACK_TENSORS}, not {wrong}")

    @property
    def num_seeds(self) -> int:
        return len(self.generator) if isinstance(self.generator, Sequence) else 1


def callback_tensors(callback: EndOfStep | None, asked: Sequence[str]) -> Sequence[str]:
    """What a callback wants to see: one of diffusers' `PipelineCallback` says so itself."""
    own: Sequence[str] = getattr(callback, "tensor_inputs", None) or asked
    return own


def same_batch(seeds: int, parts: dict[str, Tensor | None], followers: dict[str, Tensor | None]) -> list[Tensor | None]:
    """Parts and followers of one decoding, each for the whole batch, whose size the parts decide.

    A single entry stands for all, and a single clip for all seeds.

    Raises:
        ValueError: one of them has another number of entries.
    """
    batch = max(len(part) for part in parts.values() if part is not None)
    batch = seeds if batch == 1 else batch
    found = []
    for name, part in {**parts, **followers}.items():
        if part is not None and len(part) not in (1, batch):
            raise ValueError(f"{name} has {len(part)} entries for a batch of {batch}")
        found.append(None if part is None else part.expand(batch, *(-1 for _ in part.shape[1:])))
    return found
