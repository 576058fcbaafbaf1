"""The static edition: `python -m app.bake.static_edition DIR` writes Explore and Learn as plain files for any web host.

The same scripts and styles as in the app, clips that were decoded beforehand, no server. Look at it with
`python3 -m http.server --directory DIR`; for a free Static Space, `python -m space_config.deploy --static --repo ...`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from app.components import text
from app.components.player import example_buttons, prebaked_names
from app.learn.content import baked
from app.shipped import PREBAKED
from app.tabs.learn import SCRIPTS, STYLES, page_content

EDITION = Path(__file__).with_name("edition")
CARD = """---
title: FlexTok Video
emoji: 🎞️
colorFrom: indigo
colorTo: yellow
sdk: static
app_file: index.html
short_description: Video tokens from coarse to fine, explained
license: apache-2.0
---

The static edition of FlexTok Video: clips decoded beforehand, and seven steps to learn how they became tokens.
"""


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.stderr.write("usage: python -m app.bake.static_edition DIR\n")
        return 2
    export(Path(sys.argv[1]))
    return 0


def export(out: Path) -> None:
    """Write the edition into `out`; files that are there already are replaced."""
    (out / "clips").mkdir(parents=True, exist_ok=True)
    for name in prebaked_names():
        shutil.copyfile(PREBAKED / f"{name}.json", out / "clips" / f"{name}.json")
    for script in (*SCRIPTS, EDITION / "edition.js"):
        shutil.copyfile(script, out / script.name)
    shutil.copyfile(EDITION / "edition.html", out / "index.html")
    (out / "style.css").write_text(text(EDITION / "edition.css", *STYLES), encoding="utf-8")
    write_json(out / "content.json", {**page_content(), "examples": example_buttons()})
    write_json(out / "learn.json", baked())
    (out / "README.md").write_text(CARD, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
