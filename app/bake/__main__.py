"""Make all that follows from the shipped weights anew: `python -m app.bake` (15 minutes on two idle cores).

Results, figures, prebaked examples, what Learn shows, and the tables of the documents. The benches of the app itself
and of the released code are measured by commands of their own (README).
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import gradio
import tyro

MEDIA = Path(gradio.__file__).parent / "media_assets" / "videos"
REAL = ("a.mp4", "b.mp4", "world.mp4")
"""Videos that come with gradio, which no model was trained on."""


@dataclass(frozen=True)
class Options:
    study: Path | None = None
    """Folder of the study's training runs (`flextok.bench.study`); without it the study is left as it is."""
    figures: Path = Path("assets/figures")


def commands(options: Options) -> list[list[str]]:
    """Arguments of `python -m`, in order: what is made first is read later."""
    real = [str(MEDIA / name) for name in REAL]
    sheet, generated = options.figures / "coarse_to_fine.webp", options.figures / "generated.webp"
    study = [] if options.study is None else [["flextok.bench", "study", "--runs", str(options.study)]]
    return [
        ["flextok.bench", "scorer"],
        [
            "flextok.bench",
            "reconstruction",
            "--windows",
            "3",
            "--videos",
            *real,
            "--sheet",
            str(sheet),
        ],
        ["flextok.bench", "speed"],
        ["flextok.bench", "generation", "--sheet", str(generated)],
        *study,
        ["app.bake.examples"],
        ["app.bake.learn"],
        ["flextok.bench", "tables"],
    ]


def main() -> None:
    for command in commands(tyro.cli(Options)):
        sys.stderr.write(f"python -m {' '.join(command)}\n")
        subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    main()
