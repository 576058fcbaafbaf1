"""The generators that ship: what the README and the app promise of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flextok.__main__ import main
from flextok.data import probe_video
from flextok.generators import EMBEDDED_GENERATORS, load_generator
from flextok.metrics import class_score, load_scorer, text_match
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption
from flextok.toybox.sampling import HELD_OUT_SEEDS, sample_spec


@pytest.fixture(scope="module")
def pipe() -> VideoGeneratorPipeline:
    return load_generator("embedded-text")


def seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def test_they_load_by_name() -> None:
    kinds = {name: load_generator(name).info.kind for name in EMBEDDED_GENERATORS}
    assert set(kinds.values()) == {"register", "grid"}
    assert all((kind == "grid") == ("grid" in name) for name, kind in kinds.items())


def test_classes_and_texts_are_followed(pipe: VideoGeneratorPipeline) -> None:
    """Margins: 24 clips, so three clips below what the README's table has."""
    scorer, actions = load_scorer(), [*ACTIONS, *ACTIONS]
    by_class = pipe(action=actions, keep_k=8, generator=seeds(24)).frames.clamp(-1, 1)
    assert class_score(scorer, by_class, actions) > 0.8
    specs = [sample_spec(seed) for seed in HELD_OUT_SEEDS[:24]]
    by_text = pipe([caption(spec) for spec in specs], keep_k=8, generator=seeds(24)).frames.clamp(-1, 1)
    assert text_match(scorer, by_text, specs) > 0.75
    assert text_match(scorer, by_text.roll(1, 0), specs) < 0.4  # another clip will not do


def test_long_videos_have_no_seam(pipe: VideoGeneratorPipeline) -> None:
    video = pipe(action=list(ACTIONS[:6]), keep_k=8, num_frames=81, generator=seeds(6)).frames
    change = video.diff(dim=2).abs().mean(dim=(1, 3, 4))  # (6, 80)
    border = change[:, 16::16].median(dim=1).values
    assert float((border / change.median(dim=1).values).median()) < 1.5


def test_the_grid_writes_whole_clips_alone() -> None:
    grid = load_generator("embedded-grid-class")
    result = grid(action="bounces", generator=seeds(1)[0])
    assert result.token_ids.shape == (1, 5, 64)
    assert result.frames.shape == (1, 3, 17, 64, 64)
    with pytest.raises(ValueError, match="all 64 tokens"):
        grid(action="bounces", keep_k=8)
    with pytest.raises(ValueError, match="no prefix"):
        next(grid.refine(action="bounces"))


def test_the_command_line_generates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "long.mp4"
    prompt = "a large red ball rolls left past a blue cube"
    assert main(["generate", "--prompt", prompt, "--frames", "33", "--k", "2", "-o", str(out)]) == 0
    assert probe_video(out).num_frames == 33
    assert "18 tokens" in capsys.readouterr().out
    for wrong in (["--class", "flies"], ["--prompt", "🐘"], ["--class", "drops", "--frames", "0"]):
        assert main(["generate", *wrong, "-o", str(tmp_path / "no.mp4")]) == 2
        assert "Traceback" not in capsys.readouterr().err
