"""Checkpoints made to harm: one clear error each, nothing executed, memory bounded."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flextok.loading.errors import CheckpointError
from flextok.released.load import load_released
from flextok.released.weights import MAX_METADATA_CHARACTERS

Change = Callable[[dict[str, Any]], None]
MIB = 1024


@pytest.fixture
def folder(cases: Path, tmp_path: Path) -> Path:
    """A copy of case_a's checkpoint, to be damaged."""
    target = tmp_path / "checkpoint"
    target.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(cases / "case_a" / name, target)
    return target


def refused(source: Path) -> str:
    """The one sentence of the refusal; peak memory may not have grown by more than 200 MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError) as caught:
        load_released(source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * MIB
    message = str(caught.value)
    assert "\n" not in message
    return message


def decoder(config: dict[str, Any]) -> dict[str, Any]:
    return config["video_flex_tok"]["decoder"]["module_dict"]


def encoder(config: dict[str, Any]) -> dict[str, Any]:
    return config["video_flex_tok"]["encoder"]["module_dict"]


def set_in(module: str, **arguments: Any) -> Change:
    def change(config: dict[str, Any]) -> None:
        modules = decoder(config) if module in decoder(config) else encoder(config)
        modules[module].update(arguments)

    return change


def remove(module: str) -> Change:
    return lambda config: decoder(config).pop(module)


def nested(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {"_target_": "videoflextok.model.utils.dict_ops.channels_first_to_last"}
    for _ in range(depth):
        node = {
            "_target_": "videoflextok.model.utils.dict_ops.PerSampleOp",
            "read_key": "a",
            "write_key": "a",
            "per_sample_op": node,
        }
    return node


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_in("dec_null_cond", _target_="videoflextok.model.unknown.Node"), "videoflextok.model.unknown.Node"),
        (set_in("dec_null_cond", _target_="os.system"), "os.system"),
        (set_in("dec_null_cond", _target_="torch.nn.Linear"), "torch.nn.Linear"),
        (set_in("dec_null_cond", _target_=["a"]), "_target_"),
        (set_in("dec_null_cond", _target_="videoflextok.regularizers.quantize_fsq.FSQ"), "dec_null_cond"),
        (set_in("dec_null_cond", dim={"_target_": "builtins.eval"}), "dim"),
        (set_in("dec_null_cond", surprise=1), "'surprise'"),
        (set_in("dec_null_cond", replace_with_single_token=True), "replace_with_single_token"),
        (set_in("dec_null_cond", dim=None), "dec_null_cond.dim"),
        (set_in("dec_null_cond", dim=True), "dec_null_cond.dim"),
        (set_in("dec_null_cond", dim=10**12), "dec_null_cond.dim"),
        (set_in("dec_null_cond", dim=-4), "dec_null_cond.dim"),
        (set_in("dec_null_cond", dim=48), "nullcond"),
        (set_in("dec_transformer", depth=10**9), "depth"),
        (set_in("dec_transformer", weight_init_style={"_target_": "os.system"}), "os.system"),
        (lambda c: c.update(video_preprocess_args={"size": [{"_target_": "os.system"}]}), "os.system"),
        (set_in("dec_transformer", head_dim=0), "dec_transformer"),
        (set_in("dec_transformer", mlp_ratio=float("nan")), "mlp_ratio"),
        (set_in("dec_transformer", mlp_ratio=1e300), "mlp_ratio"),
        (set_in("dec_transformer", act_layer="torch.nn.GELU"), "act_layer"),
        (set_in("dec_transformer", rope_forward_read_key="rope"), "rope_forward_read_key"),
        (set_in("dec_transformer", adaLN_expansion=3), "adaLN_modulation"),
        (set_in("dec_transformer", block_mask_read_key=None), "block_mask_read_key"),
        (set_in("dec_transformer", input_seq_read_key="nowhere"), "'nowhere'"),
        (set_in("dec_patch_posembs", max_sizes=[2**20] * 3), "dec_patch_posembs"),
        (set_in("dec_patch_embedder", patch_sizes=[2**20] * 3), "patch_sizes"),
        (set_in("dec_patch_embedder", patch_sizes=[1, 3, 3]), "patch_proj"),
        (set_in("dec_patch_embedder", patch_sizes=[0, 1, 1]), "patch_sizes"),
        (set_in("enc_register_module", n_max=2**20, t_max=2**20), "registers"),
        (set_in("enc_register_module", n_eval=17), "n_eval"),
        (set_in("enc_seq_packer", mask_mode="diagonal"), "mask_mode"),
        (set_in("enc_to_latents", use_mup_readout=True), "use_mup_readout"),
        (set_in("enc_to_latents", norm_layer="torch.nn.LayerNorm"), "norm_layer"),
        (set_in("dec_channels_first", write_key="elsewhere"), "vae_latents_reconst"),
        (set_in("dec_channels_first", per_sample_op=nested(300)), "nested"),
        (remove("dec_time_embedder"), "'temb'"),
        (remove("dec_null_cond"), "unexpected"),
        (lambda c: c["video_flex_tok"].update(decoder={"module_dict": {}}), "_target_"),
        (lambda c: c["video_flex_tok"]["regularizer"].update(levels=[8] * 40), "ids"),
        (lambda c: c["video_flex_tok"]["regularizer"].update(levels=[]), "levels"),
        (lambda c: c["video_flex_tok"]["regularizer"].update(levels=[8, 8]), "codes"),
        (lambda c: c["video_flex_tok"]["vae"].update(tokenizer_id="other"), "tokenizer_id"),
        (lambda c: c["video_flex_tok"]["vae"].update(chunk_size=4), "chunk_size"),
        (lambda c: c["video_flex_tok"]["pipeline"].update(noise_read_key="noise"), "noise_read_key"),
        (lambda c: c["video_flex_tok"]["pipeline"].pop("_partial_"), "_partial_"),
        (lambda c: c.pop("video_flex_tok"), "video_flex_tok"),
        (lambda c: c.update(surprise=1), "'surprise'"),
        (lambda c: c.update(vae_video_sizes=[10**6] * 3), "vae_video_sizes"),
        (lambda c: c.update(vae_video_sizes=[5, 4]), "vae_video_sizes"),
        (lambda c: c.update(overlap_size_frames=2), "num_frames=2"),
        (lambda c: c.update(overlap_size_frames=17), "overlap=17"),
        (lambda c: c.update(chunk_size="17"), "chunk_size"),
        (lambda c: c.update(video_preprocess_args={"size": 10**9}), "size"),
    ],
)
def test_configs_that_are_refused(folder: Path, change: Change, says: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    assert says in refused(folder)


def test_files_that_are_no_json(folder: Path) -> None:
    for text in ("{", "[" * 100_000, "\x00", '"text"', "null", "[1]"):
        (folder / "config.json").write_text(text)
        assert "config" in refused(folder)
    (folder / "config.json").write_bytes(b"\xff\xfe\xff")
    assert "not valid JSON" in refused(folder)
    (folder / "config.json").write_text(" " * 5_000_000)
    assert "more than a config needs" in refused(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(folder)
    (folder / "config.json").unlink()
    assert "neither config.json nor" in refused(folder)
    assert "does not exist" in refused(tmp_path / "absent")


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for payload in (pickle.dumps(_Bomb(mark)), b"PK\x03\x04" + pickle.dumps(_Bomb(mark))):
        (folder / "model.safetensors").write_bytes(payload)
        assert "not a valid safetensors file" in refused(folder)
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    assert "not a valid safetensors file" in refused(folder)
    assert not mark.exists()


def test_truncated_and_lying_weight_files(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    huge = whole.replace(b'"shape":[48]', b'"shape":[2147483647]', 1)
    for damaged in (
        b"",
        whole[:4],
        whole[: length // 2],
        whole[: len(whole) // 2],
        whole[:-1],
        struct.pack("<Q", 2**62) + whole[8:],
        struct.pack("<Q", len(huge) - len(whole) + length) + huge[8:],
    ):
        weights.write_bytes(damaged)
        assert "model.safetensors" in refused(folder)


def test_misshaped_missing_and_unexpected_tensors_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    name = next(n for n in names if n.endswith("nullcond"))
    changed = dict(weights) | {name: torch.zeros(3)}
    save_file(changed, folder / "model.safetensors")
    assert "dec_null_cond.nullcond [3] instead of [64]" in refused(folder)
    save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors")
    assert "1 missing: decoder.module_dict.dec_null_cond.nullcond" in refused(folder)
    save_file(weights | {"video_tokenizer.decoder.extra": torch.zeros(1)}, folder / "model.safetensors")
    assert "1 unexpected: decoder.extra" in refused(folder)
    save_file(weights | {name: torch.zeros(64, dtype=torch.int64)}, folder / "model.safetensors")
    assert "not floating point" in refused(folder)
    save_file(weights | {name.removeprefix("video_tokenizer."): weights[name].clone()}, folder / "model.safetensors")
    assert "holds both" in refused(folder)
    save_file({k: v for k, v in weights.items() if ".vae." not in k}, folder / "model.safetensors")
    assert "no VAE weights" in refused(folder)


def test_single_files_with_hostile_metadata(folder: Path) -> None:
    weights = {k.removeprefix("video_tokenizer."): v for k, v in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())["video_flex_tok"]
    (folder / "config.json").unlink()
    good = {key: str(value) for key, value in config.items()}
    for key, text, says in (
        ("decoder", "!!python/object/apply:os.system ['true']", "decoder"),
        ("decoder", "&a [*a, *a]", "aliases"),
        ("decoder", "{" * 5000, "decoder"),
        ("decoder", "[" * 5000 + "]" * 5000, "nested"),
        ("decoder", "x" * (MAX_METADATA_CHARACTERS + 1), "more than a config needs"),
        ("_target_", "os.system", "os.system"),
        ("regularizer", "None", "regularizer"),
        ("vae", "2001-99-99", "vae"),
        ("vae", "{tokenizer_id: !!int 'abc'}", "vae"),
    ):
        save_file(weights, folder / "model.safetensors", metadata=good | {key: text})
        assert says in refused(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "neither" in refused(folder)
    assert "no config" in refused(folder / "model.safetensors")
