"""Put what ships together: `python -m flextok.training.export` (see README, Train).

The grid tokenizer's folder shares the VAE of the other.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tyro

from flextok.training import export_tokenizer


@dataclass(frozen=True)
class ExportConfig:
    vae: Path = Path("runs/vae/weights")
    register: Path = Path("runs/register-decoder/weights")
    grid: Path = Path("runs/grid-decoder/weights")
    out: Path = Path("assets")
    num_inference_steps: int = 4
    guidance_scale: float = 1.0


def main(config: ExportConfig) -> None:
    """Write `embedded` (whole) and `embedded-grid` (without its VAE) below `config.out`."""
    for name, tokenizer in (("embedded", config.register), ("embedded-grid", config.grid)):
        export_tokenizer.main(
            export_tokenizer.ExportConfig(
                tokenizer,
                config.out / name,
                config.vae,
                licence="Apache-2.0",
                num_inference_steps=config.num_inference_steps,
                guidance_scale=config.guidance_scale,
            )
        )
    shutil.rmtree(config.out / "embedded-grid" / "vae")


if __name__ == "__main__":
    main(tyro.cli(ExportConfig))
