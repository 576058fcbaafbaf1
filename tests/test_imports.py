"""Imports point one way, every module imports by itself, and `import flextok` is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest


def _modules(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.py"))
    return [".".join(f.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__") for f in files]


ROOT = Path(__file__).resolve().parent.parent
LIBRARY = _modules(ROOT / "flextok")
APP = [module for module in _modules(ROOT / "app") if module != "app"]


def _path(module: str) -> Path:
    path = ROOT / (module.replace(".", "/") + ".py")
    return path if path.exists() else ROOT / module.replace(".", "/") / "__init__.py"


def _needed(module: str) -> set[str]:
    """Modules that one needs, imports for type checkers alone left out."""
    tree = ast.parse(_path(module).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names - {module}


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
    names = _imported(_path(module))
    forbidden = ("app", "gradio", "plotly")
    assert not [n for n in names if n.split(".")[0] in forbidden]
    if not module.startswith(("flextok.training", "flextok.bench")):
        assert not [n for n in names if n.startswith(("flextok.training", "flextok.bench"))]
    if module.startswith("flextok.models"):
        assert not [n for n in names if n.startswith(("flextok.pipelines", "flextok.data", "flextok.api"))]


MOVED = {module for module in LIBRARY if "stays for one release" in _path(module).read_text()}
"""Names of before, one line each."""


def test_nothing_here_uses_a_name_of_before() -> None:
    files = [f for folder in ("flextok", "app", "space_config", "tests") for f in (ROOT / folder).rglob("*.py")]
    assert len(MOVED) > 15
    assert not [(f.name, name) for f in files for name in _imported(f) & MOVED]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: they only hide a circle."""
    needs = {module: _needed(module) & {*LIBRARY, *APP} for module in (*LIBRARY, *APP)}
    while free := {module for module, needed in needs.items() if not needed & needs.keys()}:
        needs = {module: needed for module, needed in needs.items() if module not in free}
    assert not needs, f"in or behind a circle: {sorted(needs)}"


@pytest.mark.parametrize("module", [*LIBRARY, *APP])
def test_functions_fit_a_screen(module: str) -> None:
    tree = ast.parse(_path(module).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > 80]


def test_every_module_imports() -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    names = [m for m in LIBRARY if not m.endswith("__main__")] + APP
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


def _declared(path: Path) -> set[str]:
    names = set()
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            names |= _declared(path.parent / line[3:].strip())
        elif found := re.match(r"[\w-]+", line):
            names.add(found[0].lower().replace("-", "_"))
    return names


COMES_AS = {"PIL": "pillow", "yaml": "pyyaml", "gradio_client": "gradio", "starlette": "gradio", "pydantic": "gradio"}
"""Distributions of modules by another name; Gradio's own page is made of the last three."""
OPTIONAL = {"spaces": "on ZeroGPU alone", "transformers": "VideoMAE's features, refused by a sentence without it"}
TOOLS = ("app.bake", "space_config")
"""Run from a checkout with the tests' packages."""


def test_every_import_is_declared() -> None:
    modules = [*LIBRARY, *APP, *(f"space_config.{name}" for name in ("tree", "deploy")), "app"]
    missing = {}
    for module in modules:
        declared = _declared(ROOT / ("tests/requirements.txt" if module.startswith(TOOLS) else "requirements.txt"))
        known = {*sys.stdlib_module_names, "flextok", "app", "space_config", *declared, *OPTIONAL}
        roots = {name.split(".")[0] for name in _imported(_path(module))}
        if unknown := {root for root in roots if COMES_AS.get(root, root) not in known}:
            missing[module] = unknown
    assert not missing
