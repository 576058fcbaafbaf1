"""Imports point one way, every module imports by itself, and `import flextok` is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest


def _modules(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.py"))
    return [".".join(f.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__") for f in files]


ROOT = Path(__file__).resolve().parent.parent
LIBRARY = _modules(ROOT / "flextok")


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", LIBRARY)
def test_the_library_never_looks_up(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ".py")
    path = path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"
    names = _imported(path)
    forbidden = ("app", "gradio", "plotly")
    assert not [n for n in names if n.split(".")[0] in forbidden]
    if not module.startswith(("flextok.training", "flextok.bench")):
        assert not [n for n in names if n.startswith(("flextok.training", "flextok.bench"))]
    if module.startswith("flextok.models"):
        assert not [n for n in names if n.startswith(("flextok.pipelines", "flextok.data", "flextok.api"))]


def test_every_module_imports() -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    names = [m for m in LIBRARY if not m.endswith("__main__")] + [m for m in _modules(ROOT / "app") if m != "app"]
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_importing_flextok_loads_nothing_heavy() -> None:
    code = "import sys, flextok, flextok.data; print(sorted({'torch', 'diffusers', 'numpy', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_is_there_before_pytorch() -> None:
    code = "import sys, app.ui; print(sorted({'torch', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
