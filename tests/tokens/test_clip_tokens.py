"""Token files and links: round trips, strictness, and edits of single tokens."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flextok
from flextok.loading.fingerprint import fingerprint
from flextok.quantizers.fsq import FSQ
from flextok.tokens import link as token_link
from flextok.tokens.clip import ClipTokens, TokenError, rows_of
from flextok.tokens.edit import Edit, apply_edits, neutral_id, swap_prefix
from flextok.tokens.file import from_json, load_tokens, save_tokens, to_json
from flextok.tokens.link import pack, pack_ids, unpack, unpack_ids

EXAMPLE = ClipTokens(
    ids=((1, 2, 3), (4, 5, 999)), num_ids=1000, model="embedded", fingerprint="0123456789abcdef",
    num_frames=5, fps=8.0, steps=4, guidance=1.0, seed=0,
)  # fmt: skip


@st.composite
def clips(draw: st.DrawFn) -> ClipTokens:
    t, k, num_ids = draw(st.integers(1, 9)), draw(st.integers(1, 12)), draw(st.integers(2, 70_000))
    ids = draw(st.lists(st.integers(0, num_ids - 1), min_size=t * k, max_size=t * k))
    return ClipTokens(
        ids=rows_of(np.array(ids).reshape(t, k)),
        num_ids=num_ids,
        model=draw(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF).filter(str.isprintable), min_size=1)),
        fingerprint=draw(st.binary(min_size=8, max_size=8)).hex(),
        num_frames=draw(st.integers(1, 16 * t)),
        fps=draw(st.integers(1, 1_000_000)) / 1000,
        steps=draw(st.integers(1, 1000)),
        guidance=draw(st.integers(0, 100_000)) / 1000,
        seed=draw(st.integers(0, 2**31 - 1)),
    )


@given(clips())
@settings(max_examples=200, deadline=None)
def test_links_come_back_as_they_went(tokens: ClipTokens) -> None:
    text = pack(tokens)
    assert unpack(text) == tokens
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert to_json(from_json(json.loads(json.dumps(to_json(tokens))))) == to_json(tokens)


@given(st.integers(1, 31).flatmap(lambda bits: st.tuples(st.just(bits), st.lists(st.integers(0, 2**bits - 1)))))
@settings(deadline=None)
def test_ids_are_packed_bit_tight(case: tuple[int, list[int]]) -> None:
    bits, ids = case
    data = pack_ids(np.array(ids, np.int64), bits)
    assert len(data) == math.ceil(len(ids) * bits / 8)
    assert unpack_ids(data, len(ids), bits).tolist() == ids


@given(clips(), st.data())
@settings(max_examples=100, deadline=None)
def test_altered_links_are_refused(tokens: ClipTokens, data: st.DataObject) -> None:
    text = pack(tokens)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in "Aa0-_" if c != text[place]]))
    for wrong in (text[:place], text[:place] + other + text[place + 1 :], text + "A"):
        with pytest.raises(TokenError) as caught:
            unpack(wrong)
        assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(TokenError):
        unpack(text)


@given(st.binary(max_size=80))
@settings(deadline=None)
def test_any_bytes_with_a_right_checksum_are_refused_or_whole(body: bytes) -> None:
    import base64
    import zlib

    data = bytes([token_link.VERSION]) + body
    text = base64.urlsafe_b64encode(data + zlib.crc32(data).to_bytes(4, "big")).decode().rstrip("=")
    try:
        tokens = unpack(text)
    except TokenError:
        return
    assert pack(tokens) == text


def test_a_long_link_says_to_keep_fewer() -> None:
    with pytest.raises(TokenError, match="keep fewer tokens"):
        pack(replace(EXAMPLE, ids=((0,) * 4000,) * 2))
    assert len(pack(EXAMPLE)) < 60


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_files_come_back_whatever_their_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"tokens{suffix}"
    save_tokens(EXAMPLE, path)
    assert load_tokens(path) == EXAMPLE
    assert load_tokens(path.rename(tmp_path / "other.bin")) == EXAMPLE


@pytest.mark.parametrize(
    "change",
    [
        {"ids": []},
        {"ids": [[]]},
        {"ids": [[1], [2, 3]]},
        {"ids": [[1000]]},
        {"ids": [[-1]]},
        {"ids": [[1.0]]},
        {"ids": [[True]]},
        {"ids": "12"},
        {"num_ids": 1},
        {"num_ids": 2**40},
        {"model": ""},
        {"model": "a\nb"},
        {"model": 3},
        {"fingerprint": "xyz"},
        {"fingerprint": None},
        {"num_frames": 0},
        {"num_frames": 10_000},
        {"fps": math.nan},
        {"fps": "8"},
        {"steps": 0},
        {"guidance": -1},
        {"seed": 2**40},
        {"version": 2},
        {"format": "other"},
        {"extra": 1},
    ],
)
def test_wrong_files_are_one_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    data = {**to_json(EXAMPLE), **change}
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(data))
    with pytest.raises(TokenError) as caught:
        load_tokens(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_files_that_are_none(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for name, data in (("a", b""), ("b", b"{"), ("c", b"\xff" * 99), ("d", b"[" * 100_000), ("e", b"x" * 3_000_000)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TokenError):
            load_tokens(tmp_path / name)
    save_file({"weights": np.zeros(3, np.float32)}, tmp_path / "f")
    save_file({"ids": np.zeros((2, 2), np.float32)}, tmp_path / "g", {"flextok-tokens": json.dumps(to_json(EXAMPLE))})
    for name in ("f", "g", "missing"):
        with pytest.raises(TokenError):
            load_tokens(tmp_path / name)


def test_a_prefix_keeps_the_first_tokens_of_each_latent_frame() -> None:
    assert EXAMPLE.prefix(2).ids == ((1, 2), (4, 5))


LEVELS = st.lists(st.integers(2, 8), min_size=1, max_size=5)


@given(LEVELS, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_edits_do_what_they_say(levels: list[int], seed: int) -> None:
    fsq = FSQ(levels)
    assert not fsq.ids_to_codes(torch.tensor([neutral_id(levels)])).any()
    ids = np.random.default_rng(seed).integers(0, fsq.num_ids, (3, 4))
    muted = apply_edits(ids, [Edit("mute", 1, 2)], levels)
    assert muted[1, 2] == neutral_id(levels)
    assert (muted != ids).sum() <= 1
    moved = apply_edits(ids, [Edit("perturb")], levels, seed)
    steps = fsq.ids_to_codes(torch.from_numpy(moved)) - fsq.ids_to_codes(torch.from_numpy(ids))
    assert ((steps != 0).sum(-1) == 1).all()
    drawn = apply_edits(ids, [Edit("resample", register=0)], levels, seed)
    assert drawn.min() >= 0
    assert drawn.max() < fsq.num_ids
    assert (drawn[:, 1:] == ids[:, 1:]).all()
    assert (apply_edits(ids, [Edit("mute"), Edit("restore", frame=0)], levels)[0] == ids[0]).all()
    both = apply_edits(ids, [Edit("resample", 0, 0), Edit("mute", 1, 1)], levels, seed)
    assert both[0, 0] == apply_edits(ids, [Edit("resample", 0, 0)], levels, seed)[0, 0]


def test_wrong_edits_are_refused() -> None:
    ids = np.zeros((2, 3), np.int64)
    wrong: list[Any] = [Edit("mute", 2, 0), Edit("mute", 0, 3), Edit("mute", -1), Edit("mute", True), Edit("x")]  # type: ignore[arg-type]
    for edit in wrong:
        with pytest.raises(TokenError):
            apply_edits(ids, [edit], (8, 5))


def test_swapping_takes_a_prefix() -> None:
    a, b = np.zeros((2, 3), np.int64), np.ones((2, 3), np.int64)
    assert swap_prefix(a, b, 1).tolist() == [[1, 0, 0], [1, 0, 0]]
    assert (swap_prefix(a, b, 0) == a).all()
    assert (swap_prefix(a, b, 3) == b).all()
    for other, first in ((b[:1], 1), (b, 4), (b, -1)):
        with pytest.raises(TokenError):
            swap_prefix(a, other, first)


def test_a_fingerprint_follows_the_content_alone(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one")
    b.write_bytes(b"one")
    assert fingerprint([a]) == fingerprint([b])
    assert len(fingerprint([a])) == 16
    b.write_bytes(b"other")
    assert fingerprint([a]) != fingerprint([b])
    assert fingerprint([a, b]) != fingerprint([b, a])
    for wrong in ([], [tmp_path / "missing"]):
        with pytest.raises(ValueError, match="fingerprint"):
            fingerprint(wrong)


def test_models_know_their_weights() -> None:
    register, grid = flextok.load_tokenizer("embedded"), flextok.load_tokenizer("embedded-grid")
    assert register.fingerprint != grid.fingerprint
    assert register.quantizer.num_ids == register.info.num_ids
    released = flextok.load_tokenizer(Path(__file__).parent.parent / "released/cases/case_a")
    assert released.quantizer.num_ids == released.info.num_ids
    assert len(released.fingerprint) == 16
