"""The speed bench runs from a name, a config and a checkpoint, and its numbers hang together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flextok.bench import released, results
from flextok.bench.synthetic import TINY, synthetic_config


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_the_tiny_config_is_measured(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert released.main(["--config", "tiny", "--repeats", "1"]) == 0
    report = read(written / "released_tiny.json")
    full = report["guided_step"]["16"]
    assert full["gflop"] < full["plain_gflop"]
    assert full["largest_difference"] < 1e-4
    assert report["bfloat16"]["psnr_db"] > 30
    output = capsys.readouterr().out
    for word in ("tokens/s", "of peak", "GFLOP/s", "PSNR", "memory"):
        assert word in output


def test_checkpoints_and_configs_are_measured(cases: Path, written: Path, tmp_path: Path) -> None:
    assert released.main(["--config", str(cases / "case_a"), "--repeats", "1"]) == 0
    assert (written / "released_case_a.json").exists()
    folder = released.prepare(str(cases / "case_b" / "config.json"), tmp_path / "unused")
    assert folder == cases / "case_b"
    (tmp_path / "small.json").write_text(json.dumps(synthetic_config(TINY)))
    assert released.prepare(str(tmp_path / "small.json"), tmp_path / "made") == tmp_path / "made"


def test_what_is_no_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert released.main(["--config", str(tmp_path / "absent.json")]) == 2
    (tmp_path / "config.json").write_text("{}")
    assert released.main(["--config", str(tmp_path / "config.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 2
