"""FSQ: ids and codes are one to one for any levels, and every id can be reached."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flextok.quantizers.fsq import FSQ

LEVELS = st.lists(st.integers(2, 9), min_size=1, max_size=6)


@given(LEVELS, st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_ids_to_codes_and_back_is_the_identity(levels: list[int], seed: int) -> None:
    fsq = FSQ(levels)
    ids = torch.randint(fsq.num_ids, (50,), generator=torch.Generator().manual_seed(seed))
    codes = fsq.ids_to_codes(ids)
    assert torch.equal(fsq.codes_to_ids(codes), ids)
    assert codes.abs().max() <= 1


@given(LEVELS)
@settings(max_examples=30, deadline=None)
def test_quantizing_reaches_exactly_the_levels(levels: list[int]) -> None:
    fsq = FSQ(levels)
    z = torch.linspace(-12, 12, 4001)[:, None].expand(-1, len(levels))
    codes = fsq.quantize(z)
    assert [len(codes[:, i].unique()) for i in range(len(levels))] == list(levels)
    ids = fsq.codes_to_ids(codes)
    assert int(ids.min()) == 0
    assert int(ids.max()) == math.prod(levels) - 1


def test_gradient_passes_the_rounding() -> None:
    z = torch.zeros(1, 4, requires_grad=True)
    FSQ((8, 5, 5, 5)).quantize(z).sum().backward()
    assert (z.grad > 0).all()


@pytest.mark.parametrize("ids", [torch.tensor([-1]), torch.tensor([1000]), torch.tensor([0.5]), torch.tensor([True])])
def test_foreign_ids_are_refused(ids: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="token ids must be"):
        FSQ((8, 5, 5, 5)).ids_to_codes(ids)


@pytest.mark.parametrize("levels", [(), (1,), (8, 0), (2,) * 70])
def test_impossible_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels"):
        FSQ(levels)
