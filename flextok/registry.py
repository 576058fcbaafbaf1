"""Which models there are, and what a user should know before loading one. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@dataclass(frozen=True)
class ModelEntry:
    """One tokenizer that `load_tokenizer` knows by name."""

    id: str
    kind: Literal["register", "grid"]
    source: Literal["embedded", "hub"]
    pixels: int
    """Height and width of its clips."""
    num_registers: int
    parameters_m: float
    """Millions, VAE included."""
    licence: str
    trained_on: str

    @property
    def memory_mib(self) -> float:
        """Weights in float32; activations come on top."""
        return self.parameters_m * 4e6 / 2**20

    @property
    def needs_gpu(self) -> bool:
        return self.parameters_m > 200


MODELS: tuple[ModelEntry, ...] = (
    ModelEntry("embedded", "register", "embedded", 64, 64, 12.85, "Apache-2.0", "Toybox, photos in motion"),
    ModelEntry("embedded-grid", "grid", "embedded", 64, 64, 12.78, "Apache-2.0", "Toybox, photos in motion"),
    ModelEntry(
        "EPFL-VILAB/videoflextok_d18_d18_k600",
        "register",
        "hub",
        128,
        256,
        1025.0,
        "see the model's page",
        "Kinetics-600",
    ),
    ModelEntry(
        "EPFL-VILAB/videoflextok_d18_d28", "register", "hub", 256, 256, 2696.0, "see the model's page", "Panda-70M"
    ),
)


def list_models() -> tuple[ModelEntry, ...]:
    """All models known by name, the embedded ones first."""
    return MODELS
