"""Parity data: numbers that the reference computed (contract, section 15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

CASES = Path(__file__).parent / "cases"


@pytest.fixture(scope="session")
def cases() -> Path:
    return CASES


@pytest.fixture(scope="session")
def units() -> dict[str, Any]:
    return json.loads((CASES / "units" / "units.json").read_text())


@pytest.fixture(scope="session")
def tensors() -> dict[str, Tensor]:
    return load_file(CASES / "units" / "units.safetensors")


@pytest.fixture
def config_a() -> dict[str, Any]:
    """A fresh copy of case_a's config, to be changed."""
    return json.loads((CASES / "case_a" / "config.json").read_text())
