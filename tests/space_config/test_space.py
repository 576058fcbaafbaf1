"""The upload tree: complete, valid, and an app that starts from it alone with the network closed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import SpaceHardware

from space_config import deploy
from space_config.tree import SpaceError, build, check_front_matter, check_requirements, front_matter, size, validate

# Any connection that leaves this machine is an error, and says so in the output.
NO_NETWORK = """
import socket
connect = socket.socket.connect
def checked(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("LEAVES THE MACHINE", address, flush=True)
        raise OSError("the network is closed")
    return connect(self, address)
socket.socket.connect = checked
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("space") / "tree"
    build(out)
    return out


def test_the_tree_is_valid_and_small(tree: Path) -> None:
    validate(tree)
    assert size(tree) < 100 * 2**20
    assert not list(tree.rglob("__pycache__"))
    assert not (tree / "tests").exists()
    with pytest.raises(SpaceError, match="not empty"):
        build(tree)


def test_dry_run_builds_checks_and_prints_the_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main(["--dry-run", str(tmp_path / "out")]) == 0
    assert "MiB, valid" in capsys.readouterr().out
    assert (tmp_path / "out" / "app.py").exists()
    assert deploy.main([]) == 2
    assert deploy.main(["--dry-run", str(tmp_path / "out")]) == 1


def test_the_static_edition_can_be_a_space_too(tmp_path: Path) -> None:
    assert deploy.main(["--static", "--dry-run", str(tmp_path)]) == 0
    assert front_matter((tmp_path / "README.md").read_text())["sdk"] == "static"
    assert not list(tmp_path.rglob("*.py"))


def test_upload_creates_the_space_and_replaces_its_files(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, repo: str, **options: Any) -> None:
            calls.append((repo, options))

        def upload_folder(self, **options: Any) -> None:
            calls.append((options["repo_id"], options))

    monkeypatch.setattr(deploy, "HfApi", Api)
    assert deploy.upload(tree, "me/flextok", SpaceHardware.ZERO_A10G, private=False).endswith("me/flextok")
    (_, created), (_, uploaded) = calls
    assert created["space_sdk"] == "gradio"
    assert created["space_hardware"] == "zero-a10g"
    assert created["exist_ok"]
    assert uploaded["folder_path"] == tree
    assert uploaded["delete_patterns"] == "*"


@pytest.mark.parametrize(
    ("field", "value"),
    [("python_version", 3.1), ("app_file", "gone.py"), ("colorTo", "teal"), ("short_description", "x" * 61)],
)
def test_front_matter_that_the_hub_would_refuse(tree: Path, field: str, value: object) -> None:
    facts = front_matter((tree / "README.md").read_text())
    check_front_matter(facts, tree)
    with pytest.raises(SpaceError, match=field):
        check_front_matter({**facts, field: value}, tree)


def test_requirements_cannot_drift() -> None:
    ours = "torch>=2.8,<2.14\ngradio>=6\nnumpy>=2\n"
    check_requirements("torch>=2.8,<2.12\nnumpy>=2\n", ours)
    for wrong in ("torch>=2.8,<2.14\nnumpy>=2", "torch>=2.8,<2.12", "torch>=2.8,<2.12\nnumpy>=2\ngradio"):
        with pytest.raises(SpaceError):
            check_requirements(wrong, ours)


def test_missing_modules_are_noticed(tmp_path: Path) -> None:
    build(tmp_path / "copy")
    (tmp_path / "copy/flextok/chunking.py").unlink()
    with pytest.raises(SpaceError, match="chunking"):
        validate(tmp_path / "copy")


def test_the_app_starts_from_the_tree_with_the_network_closed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=tree, env=env, stdout=file, stderr=subprocess.STDOUT)
    try:
        page = ""
        last = time.monotonic() + 90
        while not page and process.poll() is None and time.monotonic() < last:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=20).read().decode()
            except OSError:
                time.sleep(0.5)
        assert "FlexTok Video" in page, output.read_text()[-2000:]
        time.sleep(1)
        assert "LEAVES" not in output.read_text()
    finally:
        process.terminate()
        process.wait(timeout=20)
