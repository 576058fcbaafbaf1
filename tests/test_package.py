"""What `pip install .` gives: weights, types and a command, away from this folder; and requirements that agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

SNIPPET = """
import flextok, torch
tokenizer = flextok.load_tokenizer("embedded")
ids = tokenizer.tokenize(torch.zeros(1, 3, 17, 64, 64))
print(tuple(tokenizer.detokenize(ids, keep_k=4).frames.shape), flextok.__file__)
print(tuple(flextok.load_generator("embedded-grid-class").info.actions[:1]))
from flextok.metrics import load_scorer
load_scorer()
"""


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_away_from_this_folder(repository: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", str(repository), "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path)]
    run(build, tmp_path)
    (wheel,) = tmp_path.glob("flextok_video-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "flextok/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"flextok"}
    assert not [
        name for name in names if re.search(r"assets/(examples|results|figures|prebaked|learn|generated)", name)
    ]
    assert wheel.stat().st_size < 40 << 20
    home, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run([*pip, "install", "-q", "--no-deps", "--no-index", "--target", str(home), str(wheel)], tmp_path)
    said = run([sys.executable, "-c", SNIPPET], elsewhere, PYTHONPATH=str(home))
    assert "(1, 3, 17, 64, 64)" in said
    assert str(home) in said  # and not this checkout
    told = run([str(home / "bin/flextok"), "info"], elsewhere, PYTHONPATH=str(home))
    assert "embedded" in told


def _lines(path: Path) -> set[Requirement]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return {Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))}


def test_requirements_agree_with_the_package(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = {name: {Requirement(line) for line in lines} for name, lines in project["optional-dependencies"].items()}
    needed = {Requirement(line) for line in project["dependencies"]}
    assert needed | extras["app"] == _lines(repository / "requirements.txt")
    assert extras["test"] == _lines(repository / "tests/requirements.txt")
