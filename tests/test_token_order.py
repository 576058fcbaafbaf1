"""Time-first and raster order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flextok.token_order import TokenOrder


def test_time_first_by_hand() -> None:
    ids = torch.tensor([[[11, 12, 13], [21, 22, 23]]])  # latent frame, then register
    order = TokenOrder("time_first", 2, 3)
    assert order.flatten(ids).tolist() == [[11, 21, 12, 22, 13, 23]]
    assert order.unflatten(torch.tensor([[11, 21]])).tolist() == [[[11], [21]]]  # stopped early: a whole, coarse clip
    frame, place = order.places()
    assert frame.tolist() == [0, 1, 0, 1, 0, 1]
    assert place.tolist() == [0, 0, 1, 1, 2, 2]


def test_raster_by_hand() -> None:
    order = TokenOrder("raster", 2, 3)
    assert order.flatten(torch.tensor([[[11, 12, 13], [21, 22, 23]]])).tolist() == [[11, 12, 13, 21, 22, 23]]
    assert order.unflatten(torch.tensor([[11, 12, 13]])).tolist() == [[[11, 12, 13]]]  # stopped early: fewer frames


@given(st.sampled_from(["time_first", "raster"]), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_there_and_back(order: str, frames: int, tokens: int, batch: int) -> None:
    ids = torch.arange(batch * frames * tokens).reshape(batch, frames, tokens)
    rule = TokenOrder(order, frames, tokens)  # type: ignore[arg-type]
    sequence = rule.flatten(ids)
    assert torch.equal(rule.unflatten(sequence), ids)
    frame, place = rule.places()
    assert torch.equal(ids[0, frame, place], sequence[0])


@pytest.mark.parametrize("count", [0, 1, 7, 16])
def test_parts_of_a_step_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        TokenOrder("time_first", 5, 3).unflatten(torch.zeros(1, count))


def test_orders_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="time_first"):
        TokenOrder("sideways", 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no sequence"):
        TokenOrder("raster", 0, 1)
