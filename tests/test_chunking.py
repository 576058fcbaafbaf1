"""Chunk plans cover every frame, and every latent frame once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flextok.chunking import ChunkPlan, num_latent_frames


@given(st.integers(1, 12), st.integers(0, 3), st.integers(1, 8))
def test_plans_cover_all_frames(latents_per_chunk: int, overlap_latents: int, num_chunks: int) -> None:
    overlap = 0 if overlap_latents == 0 else 1 + 4 * (overlap_latents - 1)
    chunk = 1 + 4 * latents_per_chunk
    if overlap >= chunk:
        return
    plan = ChunkPlan(chunk, overlap)
    frames = chunk + (num_chunks - 1) * plan.stride
    covered = [f for s in plan.frame_slices(frames) for f in range(s.start, s.stop)]
    assert set(covered) == set(range(frames))
    t = plan.chunk_latent + (num_chunks - 1) * (plan.chunk_latent - plan.overlap_latent)
    stored = [i for s in plan.latent_slices(t) for i in range(s.start, s.stop)]
    assert stored == list(range(t))


def test_the_papers_numbers() -> None:
    assert num_latent_frames(17) == 5
    plan = ChunkPlan()
    assert len(plan.frame_slices(81)) == 5
    assert plan.latent_slices(21)[-1] == slice(17, 21)
    assert 21 * 32 == 672


@pytest.mark.parametrize("num_frames", [0, 2, 16, 18, 80])
def test_other_counts_name_the_nearest(num_frames: int) -> None:
    with pytest.raises(ValueError, match="nearest"):
        num_latent_frames(num_frames)
    with pytest.raises(ValueError, match="nearest"):
        ChunkPlan().frame_slices(num_frames)
