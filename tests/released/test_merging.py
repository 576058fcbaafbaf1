"""Short cuts against the plain path: other masks, orders, sizes and options than the parity cases have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flextok.bench.plain import plain_encode, plain_step
from flextok.bench.synthetic import TINY, synthetic_config, write_checkpoint
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.denoiser import ChunkTokens
from flextok.released.layout import build_layout, equal_tails, mask_rule
from flextok.released.load import load_released
from flextok.released.masks import MASK_MODES

ATOL = 2e-5  # measured: at most 4e-6
ALL_RULES = {
    "prefix2prefix": "full",
    "prefix2nonprefix": "none",
    "nonprefix2prefix": "full",
    "nonprefix2nonprefix": "causal",
}


def load(folder: Path, config: dict[str, Any], **options: Any) -> VideoTokenizerPipeline:
    write_checkpoint(folder, config, TINY.vae)
    return load_released(folder, **options)


def decoder(config: dict[str, Any]) -> dict[str, Any]:
    return config["video_flex_tok"]["decoder"]["module_dict"]


def reorder(modules: dict[str, Any], *first: str) -> None:
    """Put some modules first, in this order."""
    rest = {name: module for name, module in modules.items() if name not in first}
    moved = {name: modules[name] for name in first}
    modules.clear()
    modules.update(moved | rest)


def rows_of(pipeline: VideoTokenizerPipeline, tokens: ChunkTokens) -> list[int]:
    """Rows of the packed sequence for the conditional and the unconditional pass."""
    rows = []
    for guided in (False, True):
        denoise = pipeline.tokenizer.denoise(tokens, torch.ones(1), guided)
        with torch.no_grad():
            denoise(torch.zeros(len(tokens.codes), 16, 5, 4, 4), 0)
        packed = {id(v): v for v in denoise.run.values.values() if hasattr(v, "num_rows")}
        rows.append(sum(v.num_rows for v in packed.values()))
    return rows


def check(pipeline: VideoTokenizerPipeline, tokens: ChunkTokens) -> None:
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(len(tokens.codes), 16, 5, 4, 4, generator=generator)
    denoise = pipeline.tokenizer.denoise(tokens, torch.tensor([1.0, 0.3]), guided=True)
    with torch.no_grad():
        ours = torch.cat(denoise(noisy, 1))
        plain = torch.cat(plain_step(pipeline.tokenizer, tokens, noisy, 0.3))
    torch.testing.assert_close(ours, plain, atol=ATOL, rtol=0)


def tokens(batch: int = 3, **options: Any) -> ChunkTokens:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(-4, 4, (batch, 5, 16, 6), generator=generator) / 4
    return ChunkTokens(codes, **options)


KEEP = torch.tensor([1, 5, 16])
PREFIX = torch.tensor([0, 1, 2])


@pytest.mark.parametrize("mask", MASK_MODES)
@pytest.mark.parametrize("patches_first", [False, True])
def test_every_mask_and_order_of_lists(tmp_path: Path, mask: str, patches_first: bool) -> None:
    config = synthetic_config(replace(TINY, decoder_mask=mask))
    if mask.startswith("flexible"):
        decoder(config)["packer"]["cross_timestep_attention_config"] = ALL_RULES
    if patches_first:
        decoder(config)["packer"]["input_list_read_keys"].reverse()
        decoder(config)["unpacker"]["inner_seq_write_keys"].reverse()
    pipeline = load(tmp_path, config)
    check(pipeline, tokens(keep_k=KEEP))
    check(pipeline, tokens(keep_k=KEEP, prefix_len=PREFIX))


@pytest.mark.parametrize(
    "order",
    [
        ("from_codes", "dec_nested_dropout", "dec_prefix_masking", "null", "token_positions"),
        ("from_codes", "null", "token_positions", "dec_prefix_masking", "dec_nested_dropout"),
        ("from_codes", "token_positions", "null", "dec_nested_dropout"),
    ],
)
def test_every_order_of_positions_and_masks(tmp_path: Path, order: tuple[str, ...]) -> None:
    """Rows are merged by what they hold, so positions added after a mask keep them apart."""
    config = synthetic_config(TINY)
    reorder(decoder(config), *order)
    check(load(tmp_path, config), tokens(keep_k=KEEP, prefix_len=PREFIX))


def test_rows_that_are_merged(tmp_path: Path) -> None:
    pipeline = load(tmp_path, synthetic_config(TINY))
    per_frame = 16  # patches
    one = tokens(1, keep_k=torch.tensor([5]))
    assert rows_of(pipeline, one) == [5 * (per_frame + 6), 5 * (per_frame + 6) + 5 * (per_frame + 1)]
    given_two = tokens(1, keep_k=torch.tensor([5]), prefix_len=torch.tensor([2]))
    assert rows_of(pipeline, given_two)[0] == 2 * (per_frame + 1) + 3 * (per_frame + 6)


def test_other_options_of_trunk_and_heads(tmp_path: Path) -> None:
    config = synthetic_config(replace(TINY, decoder_width=48, head_dim=16, patch=(1, 2, 2)))
    modules = decoder(config)
    modules["transformer"].update(qkv_bias=True, proj_bias=True, mlp_bias=True, gated_mlp=False, qk_norm=False)
    modules["to_patches"].update(norm_layer=None, adaLN_bias=False, proj_bias=False, dtype_override="fp32")
    modules["patch_positions"].update(posemb_type="learnable_prod")
    modules["time"].update(frequency_embedding_size=33, max_timestep=1000.0)
    check(load(tmp_path, config), tokens(keep_k=KEEP))


def test_sequences_without_separate_modulation(tmp_path: Path) -> None:
    config = synthetic_config(TINY)
    transformer = decoder(config)["transformer"]
    del transformer["adaLN_packing_fn_read_key"]
    transformer["adaLN_expansion"] = 1
    check(load(tmp_path, config), tokens(keep_k=KEEP))


def test_training_only_heads_are_neither_needed_nor_run(tmp_path: Path) -> None:
    config = synthetic_config(TINY)
    modules = decoder(config)
    modules["transformer"].update(intermediate_layer_write_key="early", intermediate_layers=[0])
    reads = {key: value for key, value in modules["unpacker"].items() if key.startswith(("inner_packed", "outer", "_"))}
    modules["early_unpacker"] = reads | {"packed_seq_read_key": "early", "inner_seq_write_keys": ["early_a", "early_b"]}
    modules["early_head"] = {
        "_target_": "videoflextok.model.postprocessors.heads.TransformerHead",
        "read_key": "early_b",
        "write_key": "prediction",
        "dim": 64,
        "dim_out": 32,
        "depth": 1,
        "head_dim": 32,
    }
    with_head = load(tmp_path / "with", config)
    assert "early_head" not in with_head.tokenizer.decoder.module_dict
    check(with_head, tokens(keep_k=KEEP))
    del modules["early_head"]
    modules["early_to_patches"] = modules["to_patches"] | {"read_key": "early_b", "write_key": "velocity"}
    reorder(modules, *(name for name in modules if name != "channels_first"))
    check(load(tmp_path / "used", config), tokens(keep_k=KEEP))


def test_the_vae_gives_what_it_gives_layer_by_layer(tmp_path: Path) -> None:
    pipeline = load(tmp_path, synthetic_config(TINY))
    for frames in (1, 2, 4, 7, 13, 16, 17):
        video = torch.rand(2, 3, frames, 24, 16, generator=torch.Generator().manual_seed(frames)) * 2 - 1
        with torch.no_grad():
            ours, plain = pipeline.tokenizer.vidtok.encode(video), plain_encode(pipeline.tokenizer.vidtok, video)
        assert ours.mean.shape == (2, 16, -(-frames // 4), 3, 2)
        torch.testing.assert_close(ours.mean, plain.mean, atol=ATOL, rtol=0)
        torch.testing.assert_close(ours.logvar, plain.logvar, atol=ATOL, rtol=0)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.data())
@settings(max_examples=40, deadline=None)
def test_packing_is_undone_by_unpacking(batch: int, frames: int, registers: int, data: st.DataObject) -> None:
    patches = torch.randn(batch, frames, 2, 3, 4)
    kept = data.draw(st.lists(st.integers(0, registers), min_size=batch * frames, max_size=batch * frames))
    where = torch.arange(registers) < torch.tensor(kept).reshape(batch, frames, 1)
    rows: Tensor = torch.where(where[..., None], torch.randn(batch, frames, registers, 4), torch.zeros(4))
    layout = build_layout([rows, patches], (True, False), mask_rule("full", None))
    packed = layout.pack([rows, patches])
    assert torch.equal(layout.unpack(packed, 0), rows)
    assert torch.equal(layout.unpack(packed, 1), patches)
    distinct = [min(k + 1, registers) for k in kept]
    assert layout.num_rows == sum(distinct) + batch * frames * 6
    assert equal_tails(rows).flatten().tolist() == [registers - d + 1 for d in distinct]
