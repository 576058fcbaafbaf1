"""Which models there are, and what a user should know before loading one. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"
"""An installed package holds the weights itself; a checkout has them beside it, with examples and results."""


@dataclass(frozen=True)
class ModelEntry:
    """One tokenizer that `load_tokenizer` knows by name."""

    id: str
    kind: Literal["register", "grid"]
    source: Literal["embedded", "hub", "local"]
    pixels: int
    """Height and width of its clips."""
    num_registers: int
    """Tokens per latent frame at the full budget, K."""
    num_ids: int
    """Values a token can have."""
    parameters_m: float
    """Millions, VAE included."""
    memory_gib: float
    """Weights and working memory of one clip: float32 on a CPU for small models, bfloat16 on a GPU for large ones."""
    tflop_per_clip: float
    """Work of encoding one chunk and decoding it with `steps` guided steps at the full budget, in 10^12 operations."""
    steps: int
    guidance: float
    """Sampling steps and guidance scale that suit it."""
    licence: str
    trained_on: str
    grid: str = ""
    """Id of the 3D-grid baseline that stands beside it, for the same clips."""

    @property
    def needs_gpu(self) -> bool:
        """A clip would take a CPU many minutes."""
        return self.tflop_per_clip > 10

    @property
    def bits_per_token(self) -> int:
        return (self.num_ids - 1).bit_length()


SEE_HUB = "see the model's page"
VIDTOK = "microsoft/VidTok"


def grid_entry(pixels: int) -> ModelEntry:
    """The paper's own 3D-grid baseline, VidTok with FSQ, for clips of so many pixels a side.

    Work and memory go with the area; at 128 and 256 they were counted on the meta device (tests/loading/test_registry).
    """
    area = (pixels / 256) ** 2
    return ModelEntry(
        f"{VIDTOK}@{pixels}",
        "grid",
        "hub",
        pixels,
        (pixels // 8) ** 2,
        8**6,
        157.5,
        0.3 + 2.5 * area,
        20.5 * area,
        1,
        1.0,
        "MIT",
        "videos of the web",
    )


MODELS: tuple[ModelEntry, ...] = (
    ModelEntry(
        "embedded",
        "register",
        "embedded",
        64,
        64,
        1000,
        9.44,
        0.2,
        0.03,
        8,
        1.0,
        "Apache-2.0",
        "Toybox, photos",
        "embedded-grid",
    ),
    ModelEntry(
        "embedded-grid", "grid", "embedded", 64, 64, 1000, 8.99, 0.2, 0.0095, 8, 1.0, "Apache-2.0", "Toybox, photos"
    ),
    # Memory and work of these two are those of configs of the expected shape, on the meta device (tests/test_registry).
    ModelEntry(
        "EPFL-VILAB/videoflextok_d18_d18_k600",
        "register",
        "hub",
        128,
        256,
        64_000,
        1025.0,
        2.5,
        128,
        30,
        20.0,
        SEE_HUB,
        "Kinetics-600",
        f"{VIDTOK}@128",
    ),
    ModelEntry(
        "EPFL-VILAB/videoflextok_d18_d28",
        "register",
        "hub",
        256,
        256,
        64_000,
        2616.0,
        7.4,
        433,
        30,
        20.0,
        SEE_HUB,
        "Panda-70M",
        f"{VIDTOK}@256",
    ),
    grid_entry(128),
    grid_entry(256),
)


def list_models() -> tuple[ModelEntry, ...]:
    """All models known by name, the embedded ones first."""
    return MODELS
