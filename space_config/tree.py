"""The files of the Space, and what is checked before any of them is uploaded."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "space_config"
FOLDERS = ("app", "flextok", "assets")
FILES = ("app.py", "LICENSE")
SKIPPED = ("__pycache__", "app/bake", "assets/figures")
MAX_BYTES = 100 * 2**20
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
PYTHONS = {"3.12", "3.10"}
ZERO_GPU_TORCH = ((2, 8), (2, 11))
"""First and last minor version of torch that ZeroGPU lists."""


class SpaceError(ValueError):
    """The tree is not what a Space accepts; one sentence."""


def build(out: Path) -> None:
    """Copy the Space's files into `out`, which must be empty or not exist.

    Raises:
        SpaceError: it holds something already.
    """
    if out.exists() and any(out.iterdir()):
        raise SpaceError(f"{out} is not empty")
    out.mkdir(parents=True, exist_ok=True)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not any(f"{part}/" in f"{name}/" for part in SKIPPED):
                target = out / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    for name in FILES:
        shutil.copyfile(ROOT / name, out / name)
    for name in ("README.md", "requirements.txt"):
        shutil.copyfile(CONFIG / name, out / name)


def size(tree: Path) -> int:
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


def validate(tree: Path) -> None:
    """Check a built tree as the Hub's builder would.

    Raises:
        SpaceError: names the first thing that is wrong.
    """
    facts = front_matter((tree / "README.md").read_text(encoding="utf-8"))
    check_front_matter(facts, tree)
    check_requirements((tree / "requirements.txt").read_text(), (ROOT / "requirements.txt").read_text())
    for path, module in broken_imports(tree):
        raise SpaceError(f"{path} imports {module}, which is not in the tree")
    if (total := size(tree)) > MAX_BYTES:
        raise SpaceError(f"the tree has {total / 2**20:.0f} MiB, more than {MAX_BYTES / 2**20:.0f}")


def front_matter(text: str) -> dict[str, Any]:
    """The YAML between the first two lines of three dashes.

    Raises:
        SpaceError: there is none.
    """
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    facts = yaml.safe_load(found[1]) if found else None
    if not isinstance(facts, dict):
        raise SpaceError("README.md does not begin with front matter")
    return facts


def check_front_matter(facts: dict[str, Any], tree: Path) -> None:
    """Raises SpaceError where the Hub would refuse or misread a field."""
    wrong = {
        "title": not facts.get("title"),
        "sdk": facts.get("sdk") not in ("gradio", "static"),
        "colorFrom": facts.get("colorFrom") not in COLOURS,
        "colorTo": facts.get("colorTo") not in COLOURS,
        "app_file": not (tree / str(facts.get("app_file", ""))).is_file(),
        "short_description": not 0 < len(facts.get("short_description", "")) <= 60,
    }
    if facts.get("sdk") == "gradio":
        wrong["python_version"] = facts.get("python_version") not in PYTHONS  # a string: 3.10 as a number is 3.1
        wrong["sdk_version"] = re.fullmatch(r"6\.\d+\.\d+", str(facts.get("sdk_version"))) is None
    for field, is_wrong in wrong.items():
        if is_wrong:
            raise SpaceError(f"front matter: {field} is {facts.get(field)!r}")


def check_requirements(space: str, repository: str) -> None:
    """Raises SpaceError where the Space's requirements drift from the repository's or leave ZeroGPU's torch."""
    ours, theirs = requirements(space), requirements(repository)
    if "gradio" in ours or "spaces" in ours:
        raise SpaceError("requirements.txt pins gradio or spaces, which the Space brings itself")
    expected = {name: bounds for name, bounds in theirs.items() if name not in ("gradio", "torch")}
    if {name: bounds for name, bounds in ours.items() if name != "torch"} != expected:
        raise SpaceError("requirements.txt differs from the repository's in more than gradio and torch")
    first, last = ZERO_GPU_TORCH
    if ours.get("torch") != f">={first[0]}.{first[1]},<{last[0]}.{last[1] + 1}":
        raise SpaceError(f"torch{ours.get('torch')} is not what ZeroGPU takes, {first} to {last}")


def requirements(text: str) -> dict[str, str]:
    """Name to bounds."""
    lines = [line.strip() for line in text.splitlines()]
    found = [re.fullmatch(r"([\w-]+)(.*)", line) for line in lines if line and not line.startswith("#")]
    return {match[1].lower(): match[2] for match in found if match}


def broken_imports(tree: Path) -> Iterator[tuple[str, str]]:
    """Imports of our own modules that the tree does not hold."""
    for path in tree.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                file = tree / name.replace(".", "/")
                ours = name.split(".")[0] in ("app", "flextok", "space_config")
                if ours and not file.with_suffix(".py").exists() and not (file / "__init__.py").exists():
                    yield path.relative_to(tree).as_posix(), name
