"""Guidance: identities at scale 1, bounds, per-clip state."""

from __future__ import annotations

import torch

from flextok.guidance import NORM_DIMS, APGSettings, adaptive_projected_guidance, classifier_free_guidance


def _pair(b: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, b, 3, 2, 4, 4, generator=generator).unbind(0)


def test_scale_one_is_the_conditional_velocity() -> None:
    cond, uncond = _pair()
    torch.testing.assert_close(classifier_free_guidance(cond, uncond, 1.0), cond)
    assert torch.equal(adaptive_projected_guidance(cond, uncond, 1.0, APGSettings())[0], cond)


def test_unbounded_apg_with_full_parallel_part_is_cfg() -> None:
    cond, uncond = _pair()
    settings = APGSettings(eta=1.0, norm_threshold=0)
    guided, _ = adaptive_projected_guidance(cond, uncond, 3.0, settings)
    torch.testing.assert_close(guided, classifier_free_guidance(cond, uncond, 3.0), atol=1e-5, rtol=1e-5)


def test_the_update_is_bounded_and_orthogonal() -> None:
    cond, uncond = _pair()
    guided, _ = adaptive_projected_guidance(cond, uncond, 2.0, APGSettings(norm_threshold=0.5))
    update = guided - cond
    assert torch.linalg.vector_norm(update, dim=NORM_DIMS).max() <= 0.5 + 1e-5
    assert (update * cond).sum(dim=NORM_DIMS).abs().max() < 1e-4


def test_momentum_averages_updates_of_each_clip_alone() -> None:
    cond, uncond = _pair()
    settings = APGSettings(momentum=0.5)
    _, average = adaptive_projected_guidance(cond, uncond, 2.0, settings)
    guided, after = adaptive_projected_guidance(cond, uncond, 2.0, settings, average)
    torch.testing.assert_close(after, 1.5 * (cond - uncond))
    _, alone = adaptive_projected_guidance(cond[:1], uncond[:1], 2.0, settings)
    torch.testing.assert_close(adaptive_projected_guidance(cond[:1], uncond[:1], 2.0, settings, alone)[0], guided[:1])
