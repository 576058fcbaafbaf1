"""Whole models against the reference: tokens equal, floats within the tolerances of case.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flextok.bench import parity
from flextok.bench.expressions import guidance_expression, tensor_expression
from flextok.bench.parity import Case, check_case
from flextok.released.load import load_released
from flextok.released.reference import ReferenceDraws
from flextok.released.weights import HUB_PREFIX


@pytest.mark.parametrize("case", ["case_a", "case_b"])
def test_every_tensor_of_the_case_is_within_its_tolerance(cases: Path, case: str) -> None:
    result = check_case(cases / case)
    assert not result.failures
    stated = json.loads((cases / case / "case.json").read_text())["tensors"].values()
    assert sum(result.counts.values()) == sum(facts["group"] != "input" for facts in stated)


@pytest.mark.parametrize("case", ["case_a", "case_b"])
def test_seeds_alone_reproduce_the_recorded_draws(cases: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "RecordedDraws", lambda _recorded: ReferenceDraws())
    assert not check_case(cases / case).failures


def test_start_noise_is_drawn_as_in_the_reference(cases: Path) -> None:
    case = Case(cases / "case_a")
    run = next(run for run in case.facts["runs"]["det"] if run["name"] == "chunks2")
    generator = torch.Generator().manual_seed(run["noise_seed"])
    drawn = case.pipeline._start_noise(2, 5, (5, 4, 4), generator)
    assert torch.equal(drawn, case.stored["det.chunks2.noise.chunk0"])


def single_file(folder: Path, target: Path) -> None:
    """A Hub folder's inner model as one file with its config in the metadata."""
    config = json.loads((folder / "config.json").read_text())["video_flex_tok"]
    weights = {key.removeprefix(HUB_PREFIX): value for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, target, metadata={key: str(value) for key, value in config.items()})


@pytest.fixture
def single_case(cases: Path, tmp_path: Path) -> Path:
    """case_b as a case whose checkpoint is a single file: runs of one chunk, without frames that become tokens."""
    facts: dict[str, Any] = json.loads((cases / "case_b" / "case.json").read_text())
    for kind, names in {"tok": ["pair"], "det": ["nocfg_keep", "cfg", "apg25"]}.items():
        facts["runs"][kind] = [run for run in facts["runs"][kind] if run["name"] in names]
    (tmp_path / "case.json").write_text(json.dumps(facts))
    shutil.copy(cases / "case_b" / "io.safetensors", tmp_path)
    single_file(cases / "case_b", tmp_path / "tokenizer.safetensors")
    return tmp_path


def test_the_command_reads_single_file_cases(single_case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity.main([str(single_case)]) == 0
    assert "sampled_latents" in capsys.readouterr().out


def test_the_command_fails_on_a_wrong_token_and_on_a_wrong_float(
    single_case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = load_file(single_case / "io.safetensors")
    stored["tok.pair.tokens"][0, 0, 0] += 1
    stored["vel.full.v"][0, 0, 0, 0, 0] += 1e-3
    save_file(stored, single_case / "io.safetensors")
    assert parity.main([str(single_case)]) == 1
    output = capsys.readouterr().out
    assert "FAILED tok.pair.tokens" in output
    assert "FAILED vel.full.v" in output


def test_a_run_that_cannot_be_made_is_a_failure_among_results(
    single_case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((single_case / "case.json").read_text())
    facts["runs"]["det"][0]["tokens"] = "nowhere[0:1]"
    (single_case / "case.json").write_text(json.dumps(facts))
    assert parity.main([str(single_case)]) == 1
    output = capsys.readouterr().out
    assert "FAILED det.nocfg_keep: ValueError: no tensor is named" in output
    assert "velocity" in output


def test_single_files_decode_in_chunks_by_default(cases: Path, tmp_path: Path) -> None:
    single_file(cases / "case_a", tmp_path / "model.safetensors")
    hub, single = load_released(cases / "case_a"), load_released(tmp_path)
    video = torch.rand(1, 3, 33, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ids = single.tokenize(video)
    assert torch.equal(ids, hub.tokenize(video))
    with pytest.raises(ValueError, match="latent_size"):
        single.detokenize(ids)
    frames = single.detokenize(
        ids, num_inference_steps=1, latent_size=(5, 4, 4), generator=torch.Generator().manual_seed(1)
    ).frames
    same = hub.detokenize(ids, num_inference_steps=1, generator=torch.Generator().manual_seed(1)).frames
    assert torch.equal(frames, same)


def test_case_expressions_are_read_and_not_executed() -> None:
    tensors = {"a.b": torch.arange(12).reshape(3, 4), "a": torch.zeros(1)}
    assert torch.equal(
        tensor_expression("a.b.repeat(2,1)[1:4, :2] as a list", tensors), tensors["a.b"].repeat(2, 1)[1:4, :2]
    )
    ramp = guidance_expression("callable t -> 1.0 + 4.0*t if t > 0.2 else 1")
    assert callable(ramp)
    assert ramp(0.5) == 3.0
    assert ramp(0.1) == 1.0
    for text in ("a.b.pow(2)", "nothing[0]"):
        with pytest.raises(ValueError, match=r"cannot read|no tensor"):
            tensor_expression(text, tensors)
    with pytest.raises(ValueError, match="cannot read"):
        guidance_expression("callable t -> __import__('os').getpid()")
