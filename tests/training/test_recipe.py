"""The recipe at tiny size: every stage, stopped at any moment, ends in the weights of a run that never stopped."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from flextok.api import load_folder
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.training.recipe import Options, Stage, measured_seconds, plan, run_stages, stages
from flextok.training.recipe_settings import SETTINGS

TINY = SETTINGS["tiny"]


def tiny_stages(out: Path) -> list[Stage]:
    return stages(TINY, out, out / "assets", Options("tiny", out, workers=1))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the recipe ran without a stop."""
    out = tmp_path_factory.mktemp("whole")
    assert run_stages(tiny_stages(out))
    return out


@pytest.mark.slow
def test_everything_that_ships_comes_out_and_loads(whole: Path) -> None:
    assets = whole / "assets"
    register = load_folder(assets / "embedded")
    grid = load_folder(assets / "embedded-grid", vae_folder=assets / "embedded/vae")
    assert isinstance(grid.tokenizer, GridTokenizer)
    assert register.tokenizer.config.decoder_attention == grid.tokenizer.config.decoder_attention == "full"
    for name in ("embedded-generator/transformer", "embedded-grid-generator/transformer", "scorer"):
        assert (assets / name / "diffusion_pytorch_model.safetensors").exists()
    # Registers and grid see the same clips in as many steps.
    first, second = ((whole / name / "config.json").read_text() for name in ("register-decoder", "grid-decoder"))
    for line in ('"steps": 4', '"batch_size": 4', "latents/toybox0", "latents/long"):
        assert line in first
        assert line in second


@pytest.mark.slow
def test_a_recipe_that_is_stopped_again_and_again_ends_in_the_same_weights(whole: Path, tmp_path: Path) -> None:
    stops = 0
    while not run_stages(tiny_stages(tmp_path), time.monotonic() + 0.6):
        stops += 1
        assert stops < 200
    assert stops > 3
    written = sorted(path.relative_to(whole) for path in (whole / "assets").rglob("*.safetensors"))
    assert len(written) == 6
    for path in written:
        one, other = load_file(whole / path), load_file(tmp_path / path)
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one), path


@pytest.mark.slow
def test_a_finished_set_is_gone_on_from_where_no_state_of_it_is_left(whole: Path, tmp_path: Path) -> None:
    begin = whole / "assets"
    options = Options("tiny", tmp_path, begin=begin, workers=1)
    found = stages(TINY, tmp_path, tmp_path / "assets", options)
    assert [stage.name for stage in found if stage.name in ("begin", "scorer", "vae", "register", "grid")] == ["begin"]
    assert run_stages(found)
    encoders = ("encoder.", "codec.", "code_norm.", "code_gate"), ("embed.", "blocks.", "head.", "code_norm.")
    for name, encoder in zip(("embedded/tokenizer", "embedded-grid/tokenizer"), encoders, strict=True):
        path = Path(name) / "diffusion_pytorch_model.safetensors"
        before, after = load_file(begin / path), load_file(tmp_path / "assets" / path)
        changed = {key for key in before if (before[key] != after[key]).any()}
        assert any(key.startswith("decoder.") for key in changed)  # the decoder went on ...
        assert not {key for key in changed if key.startswith(encoder)}  # ... and every token stays what it was
    for path in ("embedded/vae", "scorer"):
        before, after = (
            load_file(a / path / "diffusion_pytorch_model.safetensors") for a in (begin, tmp_path / "assets")
        )
        assert all((before[key] == after[key]).all() for key in before)
    # The copy does not hang on the set, which the new weights may replace.
    assert run_stages(found)
    # What stands before its end does not ship: a generator stays as it was begun with, a decoder is waited for.
    longer = replace(TINY, generator=replace(TINY.generator, steps=8))
    export_of = {s.name: s for s in stages(longer, tmp_path, tmp_path / "kept", options)}["export"]
    assert export_of.run(None)
    path = "embedded-generator/transformer/diffusion_pytorch_model.safetensors"
    before, after, trained = (load_file(a / path) for a in (begin, tmp_path / "kept", tmp_path / "assets"))
    assert all((before[key] == after[key]).all() for key in before)
    assert any((before[key] != trained[key]).any() for key in before)
    longer = replace(TINY, decoder=replace(TINY.decoder, steps=8))
    export_of = {s.name: s for s in stages(longer, tmp_path, tmp_path / "kept", options)}["export"]
    with pytest.raises(ValueError, match="grid-decoder, register-decoder must be trained to the end"):
        export_of.run(None)


def test_a_folder_that_is_no_finished_set_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flextok.training.recipe", "tiny", "--out", str(tmp_path / "out")]
    command += ["--begin", str(tmp_path), "--only", "begin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("is no finished set: it has no scorer")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_done_is_skipped_and_what_was_prolonged_goes_on(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert run_stages(tiny_stages(whole))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # More steps of the last stage go on from before its cool-down; what is made of it is made anew.
    longer = replace(TINY, generator=replace(TINY.generator, steps=6))
    found = {stage.name: stage for stage in stages(longer, whole, whole / "assets", Options("tiny", whole))}
    assert found["generator"].done() == 4
    assert found["generator"].run(None)
    assert (found["generator"].done(), found["export"].done()) == (6, 0)
    assert run_stages([found["export"]])
    assert found["export"].done() == 1
    # Another VAE: its latents are made anew, and what was trained on the old ones is not gone on with.
    (whole / "vae/weights/diffusion_pytorch_model.safetensors").touch()
    assert found["latents/toybox0"].done() == 0
    assert run_stages([found["latents/toybox0"]])
    longer = replace(TINY, read=replace(TINY.read, steps=6))
    found = {stage.name: stage for stage in stages(longer, whole, whole / "assets", Options("tiny", whole))}
    with pytest.raises(ValueError, match="register-read began on what is not there any more"):
        found["register-read"].run(None)


@pytest.mark.slow
def test_the_plan_names_every_stage_and_what_is_left(tmp_path: Path) -> None:
    found = tiny_stages(tmp_path)
    seconds = measured_seconds(TINY, Options("tiny", tmp_path, workers=1))
    assert seconds.keys() == {stage.name for stage in found}
    assert min(seconds.values()) > 0
    lines = list(plan(found, seconds))
    assert len(lines) == len(found) + 2
    for stage, line in zip(found, lines[1:], strict=False):
        assert line.split()[:4] == [stage.name, "0", "of", str(stage.total)]


def test_an_unknown_stage_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flextok.training.recipe", "tiny", "--out", str(tmp_path), "--only", "vea"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("--only vea: no such stage; there are banks/toybox0")


def test_the_settings_share_no_training_clip_between_banks() -> None:
    for settings in SETTINGS.values():
        spans = sorted((b.first_seed, b.first_seed + b.clips) for b in settings.banks if b.folder is None)
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
