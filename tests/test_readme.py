"""The README keeps its word: snippets run, tables are the committed results, the commands name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from flextok.bench.tables import with_tables
from flextok.training.train_scorer import PRESETS as SCORER_PRESETS
from flextok.training.train_tokenizer import PRESETS as TOKENIZER_PRESETS
from flextok.training.train_vae import PRESETS as VAE_PRESETS


def test_python_snippets_run(repository: Path, tmp_path: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        code = snippet.replace('"coarse.mp4"', repr(str(tmp_path / "coarse.mp4")))
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "coarse.mp4").stat().st_size > 1000


def test_tables_are_the_committed_results(repository: Path) -> None:
    for page in ("README.md", "assets/scorer/README.md"):
        text = (repository / page).read_text()
        assert with_tables(text) == text


def test_commands_name_what_exists(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    for module in set(re.findall(r"-m ((?:flextok|app)[\w.]*)", text)):
        path = repository / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for stage, presets in (
        ("train_vae", VAE_PRESETS),
        ("train_tokenizer", TOKENIZER_PRESETS),
        ("train_scorer", SCORER_PRESETS),
    ):
        named = set(re.findall(rf"{stage} ([\w-]+)", text))
        named |= set(re.search(r"for stage in ([\w -]+);", text)[1].split()) if stage == "train_tokenizer" else set()
        assert named
        assert named <= set(presets)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text, re.DOTALL):
        assert (repository / picture).exists(), picture


def test_licence_is_there(repository: Path) -> None:
    assert "Apache License" in (repository / "LICENSE").read_text()
