"""Weights in 8 bits: what comes back is near, and files that say otherwise are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flextok.loading.checkpoint import WEIGHTS_NAME, load_strict
from flextok.loading.eight_bit import SUFFIX, to_eight_bits
from flextok.loading.errors import CheckpointError
from flextok.models.grid_tokenizer import GridTokenizer


@pytest.fixture
def saved(tmp_path: Path) -> tuple[GridTokenizer, Path]:
    torch.manual_seed(0)
    model = GridTokenizer(latent_size=(5, 4, 4), dim=64, encoder_depth=1, decoder_depth=1, head_dim=16)
    for parameter in model.parameters():  # no rows of zeros, as fresh layers have
        torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    save_file(to_eight_bits(model.state_dict()), tmp_path / WEIGHTS_NAME)
    return model, tmp_path


def test_a_model_comes_back_within_half_a_step_of_each_row(saved: tuple[GridTokenizer, Path]) -> None:
    model, folder = saved
    stored = load_file(folder / WEIGHTS_NAME)
    assert sum(tensor.dtype == torch.int8 for tensor in stored.values()) > 8
    loaded = load_strict(GridTokenizer, folder).state_dict()
    for name, before in model.state_dict().items():
        after = loaded[name]
        assert after.dtype == torch.float32
        rows = before.flatten(1) if before.ndim > 1 else before[None]
        step = rows.abs().amax(1, keepdim=True) / 127
        assert ((after - before).view_as(rows).abs() <= 0.501 * step).all(), name


def test_a_row_of_zeros_stays_zero() -> None:
    stored = to_eight_bits({"weight": torch.zeros(64, 64)})
    assert not stored["weight"].any()
    assert stored[f"weight{SUFFIX}"].isfinite().all()


@pytest.mark.parametrize("what", ["missing", "too many", "of nothing", "of a float", "in half"])
def test_scales_that_do_not_fit_are_refused(saved: tuple[GridTokenizer, Path], what: str) -> None:
    _, folder = saved
    stored = load_file(folder / WEIGHTS_NAME)
    name = next(name for name in stored if name.endswith(SUFFIX))
    scale = stored.pop(name)
    other: dict[str, dict[str, Tensor]] = {
        "missing": {},
        "too many": {name: torch.ones(len(scale) + 1)},
        "of nothing": {name: scale, f"elephant{SUFFIX}": torch.ones(3)},
        "of a float": {name: scale, name.removesuffix(SUFFIX): torch.ones(stored[name.removesuffix(SUFFIX)].shape)},
        "in half": {name: scale.half()},
    }
    save_file(stored | other[what], folder / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match=r"8-bit|not floating point"):
        load_strict(GridTokenizer, folder)
