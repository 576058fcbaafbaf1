"""The README keeps its word: snippets run, tables are the committed results, the commands name what exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flextok.bench.results import RESULTS
from flextok.bench.tables import DOCUMENTS, TABLES, with_tables
from flextok.training.recipe_settings import SETTINGS
from flextok.training.train_tokenizer import PRESETS as TOKENIZER_PRESETS


def test_python_snippets_run(repository: Path, tmp_path: Path) -> None:
    """README's and the model cards', one after the other as a reader would run them."""
    snippets = [code for path in DOCUMENTS for code in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)]
    assert len(snippets) >= 4
    code = "\n".join(snippets).replace('"coarse.mp4"', repr(str(tmp_path / "coarse.mp4")))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "coarse.mp4").stat().st_size > 1000


def bash_commands(repository: Path) -> list[str]:
    """Every command of a bash block of the README, without its comment."""
    blocks = re.findall(r"```bash\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines]


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (
            "python -m flextok reconstruct clip.mp4",
            {"clip.mp4": "assets/examples/1-rolls.mp4", "--k 1 4 16 64": "--k 1 4"},
        ),
        ("python -m flextok info", {}),
        ("python -m space_config.deploy --dry-run", {" space": " OUT/space"}),
        ("python -m app.bake.static_edition", {" site": " OUT/site"}),
    ],
)
def test_bash_commands_run(repository: Path, tmp_path: Path, command: str, changes: dict[str, str]) -> None:
    """Those that need neither a network nor hours."""
    (line,) = [line for line in bash_commands(repository) if line.startswith(command)]
    line = line.replace("--out reconstruction", "--out OUT/reconstruction")
    for old, new in changes.items():
        head, found, tail = line.rpartition(old)
        assert found, f"{old!r} is not in {line!r}"
        line = head + new + tail
    run(line.replace("OUT", str(tmp_path)), repository)


def test_training_on_ones_own_videos(repository: Path, tmp_path: Path) -> None:
    """The commands at tiny size, on the example clips as somebody's folders."""
    text = (repository / "README.md").read_text()
    block = re.search(r"<!-- own videos -->\n```bash\n(.*?)```\n<!-- end -->", text, re.DOTALL)
    assert block
    script = block[1]
    for old, new in (
        ("--num-clips 20000", "--num-clips 8"),
        ("/path/to/videos", "assets/examples"),
        ("/path/to/other-videos", "assets/examples"),
        ("train_tokenizer register ", "train_tokenizer register-tiny --run.out runs/register "),
        (
            "train_tokenizer register-decoder ",
            "train_tokenizer register-decoder-tiny --run.init-from runs/register/weights --run.out "
            "runs/register-decoder ",
        ),
        ("--k 1 4 16", "--k 1 4"),
        ("accelerate launch", "accelerate launch --cpu"),
        ("runs/", f"{tmp_path}/"),
    ):
        assert old in script, old
        script = script.replace(old, new)
    run(script, repository)
    report = json.loads((tmp_path / "mine/metrics.json").read_text())
    assert report["model"] == "my-tokenizer"
    assert [row["keep_k"] for row in report["budgets"]] == [1, 4]


def run(script: str, repository: Path) -> None:
    """As in the README, with this interpreter's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=repository, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_tables_are_the_committed_results(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"<!-- table ([\w-]+) -->", text)) <= TABLES.keys()
    assert with_tables(text) == text


def test_every_table_is_shown_somewhere() -> None:
    shown = {name for path in DOCUMENTS for name in re.findall(r"<!-- table ([\w-]+) -->", path.read_text())}
    # The study of sizes stands there once it is made of the tokens that ship.
    made = TABLES.keys() - ({"study"} - {path.stem for path in RESULTS.glob("*.json")})
    assert shown == made


CARDS = [path for path in DOCUMENTS if path.parent.parent.name == "assets"]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_model_cards_say_what_a_reader_must_know(path: Path, repository: Path) -> None:
    text = path.read_text()
    for part in ("Data", "ecipe", "## Metrics", "## Limits", "## Licence"):
        assert part in text
    assert "license: apache-2.0" in text
    for named in re.findall(r"`?((?:assets|flextok)/[\w./*-]+\w)", text):
        assert list(repository.glob(named)), named


def test_commands_name_what_exists(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    for module in set(re.findall(r"-m ((?:flextok|app|space_config)[\w.]*)", text)):
        path = repository / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for stage, presets in (("train_tokenizer", TOKENIZER_PRESETS), ("recipe", SETTINGS)):
        named = set(re.findall(rf"training.{stage} ([\w-]+)", text))
        assert named
        assert named <= set(presets)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text, re.DOTALL):
        assert (repository / picture).exists(), picture


def test_licence_is_there(repository: Path) -> None:
    assert "Apache License" in (repository / "LICENSE").read_text()
