"""Put the demo on Hugging Face Spaces: `python -m space_config.deploy --dry-run [DIR]`, or `--repo OWNER/NAME`.

The upload tree (with `--static`, that of the static edition) is built and validated first, always. With `--dry-run`
that is all; otherwise the Space is created if need be and the tree uploaded, with the token of `hf auth login` or of
the environment (HF_TOKEN).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, SpaceHardware

from app.bake.static_edition import export
from space_config.tree import SpaceError, build, check_front_matter, front_matter, size, validate


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.dry_run is None and not options.repo:
        print("give --dry-run, or --repo OWNER/NAME to upload", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="space-") as scratch:
        tree = Path(options.dry_run or scratch)
        try:
            if options.static:
                export(tree)
                check_front_matter(front_matter((tree / "README.md").read_text(encoding="utf-8")), tree)
            else:
                build(tree)
                validate(tree)
        except SpaceError as error:
            print(error, file=sys.stderr)
            return 1
        files = sum(path.is_file() for path in tree.rglob("*"))
        print(f"{files} files, {size(tree) / 2**20:.1f} MiB, valid" + (f", in {tree}" if options.dry_run else ""))
        if options.dry_run is None:
            sdk = "static" if options.static else "gradio"
            print(upload(tree, options.repo, options.hardware, options.private, sdk))
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m space_config.deploy", description=__doc__)
    made.add_argument("--dry-run", nargs="?", const="", metavar="DIR", help="build and check; keep the tree in DIR")
    made.add_argument("--repo", metavar="OWNER/NAME", help="the Space")
    made.add_argument(
        "--hardware",
        type=SpaceHardware,
        help="for a new Space, e.g. zero-a10g or cpu-basic; see space_config/hardware.md",
    )
    made.add_argument("--static", action="store_true", help="the static edition: Explore and Learn, no server")
    made.add_argument("--private", action="store_true", help="for a new Space")
    return made


def upload(tree: Path, repo: str, hardware: SpaceHardware | None, private: bool, sdk: str = "gradio") -> str:
    """Create the Space if it is not there and make its files those of the tree; the address of the Space."""
    api = HfApi()
    api.create_repo(
        repo, repo_type="space", space_sdk=sdk, space_hardware=hardware, private=private or None, exist_ok=True
    )
    api.upload_folder(
        repo_id=repo, repo_type="space", folder_path=tree, delete_patterns="*", commit_message="Deploy the demo"
    )
    return f"https://huggingface.co/spaces/{repo}"


if __name__ == "__main__":
    sys.exit(main())
