"""Checkpoints of any size in the form of the released ones, with random weights: for benchmarks and tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from flextok.released.config import PREFIX, parse_config
from flextok.released.load import CONFIG_NAME, WEIGHTS_NAME
from flextok.released.model import OneChunkModel
from flextok.released.vae import LATENT_CHANNELS, VAESize
from flextok.released.weights import HUB_PREFIX


@dataclass(frozen=True)
class Sizes:
    """What the sizes of a released model are made of; the defaults are the benchmark's mid config."""

    encoder_width: int = 256
    encoder_depth: int = 6
    decoder_width: int = 256
    decoder_depth: int = 6
    head_dim: int = 64
    num_registers: int = 256
    latent_size: tuple[int, int, int] = (5, 16, 16)
    patch: tuple[int, int, int] = (1, 1, 1)
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    decoder_mask: str = "full"
    vae: VAESize = field(default_factory=lambda: VAESize(32, 2))


TINY = Sizes(64, 2, 64, 2, 32, 16, (5, 4, 4), vae=VAESize(8, 1))
MID = Sizes()


def write_checkpoint(folder: Path, config: dict[str, Any], vae: VAESize, seed: int = 0) -> None:
    """A Hub folder of this config with random weights, float32."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=1))
    model = OneChunkModel(parse_config(config), vae)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        HUB_PREFIX + name: _random_weight(name, tuple(tensor.shape), generator)
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS_NAME)


def _random_weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Scaled so that activations keep their size and no branch is closed, as in trained weights."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        return 1 + 0.1 * noise
    if name.endswith("bias") or "posembs" in name:
        return 0.1 * noise
    if name.endswith(".weight"):
        return noise / max(noise[0].numel(), 1) ** 0.5
    return 0.5 * noise


def synthetic_config(sizes: Sizes) -> dict[str, Any]:
    """A config.json with every kind of module that a release is expected to have."""
    return {
        "video_flex_tok": {
            "_target_": f"{PREFIX}resamplers.video_wrappers.VideoFlowMatchingResampler",
            "vae": {
                "_target_": f"{PREFIX}compressors.vidtok.VidTokVAE",
                "images_read_key": "rgb",
                "vae_latents_read_key": "latents_out",
                "vae_latents_write_key": "latents_in",
                "images_reconst_write_key": "rgb_out",
                "tokenizer_id": "vidtok_kl_causal_488_16chn",
            },
            "encoder": _modules(_encoder(sizes)),
            "decoder": _modules(_decoder(sizes)),
            "regularizer": {
                "_target_": f"{PREFIX}regularizers.quantize_fsq.FSQ",
                "latents_read_key": "to_quantize",
                "quants_write_key": "codes",
                "tokens_write_key": "ids",
                "levels": list(sizes.levels),
            },
            "pipeline": {
                "_target_": f"{PREFIX}flow_matching.pipelines.VideoMinRFPipeline",
                "_partial_": True,
                "target_sizes_read_key": "sizes",
                "latents_read_key": "codes",
                "timesteps_read_key": "time",
                "noised_videos_read_key": "noisy",
                "reconst_write_key": "latents_out",
                "out_channels": LATENT_CHANNELS,
                "cond_vae_latents_key": "cond_vae_latents",
            },
        },
        "vae_video_sizes": list(sizes.latent_size),
    }


def _modules(modules: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": f"{PREFIX}model.utils.wrappers.SequentialModuleDictWrapper", "module_dict": modules}


def _node(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"{PREFIX}model.{target}", **arguments}


def _move(read: str, write: str, how: str) -> dict[str, Any]:
    move = {"_target_": f"{PREFIX}model.utils.dict_ops.{how}", "_partial_": True}
    return _node("utils.dict_ops.PerSampleOp", read_key=read, write_key=write, per_sample_op=move)


def _patches(read: str, write: str, sizes: Sizes, dim: int) -> dict[str, Any]:
    return _node(
        "preprocessors.patching.PatchEmbedder",
        input_tensor_list_read_key=read,
        patches_list_write_key=write,
        n_patches_write_key=f"{write}_counts",
        patch_sizes=list(sizes.patch),
        channels_in=LATENT_CHANNELS,
        dim=dim,
        flatten_patches=False,
    )


def _positions(key: str, dim: int, axes: int, size: int) -> dict[str, Any]:
    return _node(
        "utils.posembs.PositionalEmbeddingAdder",
        read_key=key,
        write_key=key,
        dim=dim,
        max_sizes=[size] * axes,
        posemb_type="learnable_sum",
    )


def _packer(lists: list[str], name: str, mask_mode: str, **more: Any) -> dict[str, Any]:
    return _node(
        "preprocessors.flex_seq_packing.BlockWiseSequenceInterleavePacker",
        input_list_read_keys=lists,
        packed_seq_write_key=name,
        block_mask_write_key=f"{name}_mask",
        inner_packed_shapes_write_key=f"{name}_inner",
        outer_packed_shapes_write_key=f"{name}_outer",
        mask_mode=mask_mode,
        pad_to_multiple=128,
        **more,
    )


def _unpacker(name: str, lists: list[str]) -> dict[str, Any]:
    return _node(
        "postprocessors.seq_unpacking.SequenceInterleavedUnpacker",
        packed_seq_read_key=f"{name}_out",
        inner_seq_write_keys=lists,
        inner_packed_shapes_read_key=f"{name}_inner",
        outer_packed_shapes_read_key=f"{name}_outer",
    )


def _trunk(name: str, dim: int, depth: int, head_dim: int, **more: Any) -> dict[str, Any]:
    return _node(
        "trunks.transformers.FlexTransformer",
        input_seq_read_key=name,
        output_seq_write_key=f"{name}_out",
        dim=dim,
        depth=depth,
        head_dim=head_dim,
        block_mask_read_key=f"{name}_mask",
        **more,
    )


def _table_size(sizes: Sizes) -> int:
    return max(n // p for n, p in zip(sizes.latent_size, sizes.patch, strict=True))


def _encoder(sizes: Sizes) -> dict[str, Any]:
    dim = sizes.encoder_width
    return {
        "channels_last": _move("latents_in", "latents_cl", "channels_first_to_last"),
        "patches": _patches("latents_cl", "patches", sizes, dim),
        "patch_positions": _positions("patches", dim, 3, _table_size(sizes)),
        "registers": _node(
            "preprocessors.registers.RegistersTemporal2D",
            input_tensor_list_read_key="patches",
            register_sizes_read_write_key="register_sizes",
            registers_write_key="registers",
            dim=dim,
            t_max=sizes.latent_size[0],
            n_min=1,
            n_max=sizes.num_registers,
            ordering_mode="nested",
        ),
        "packer": _packer(["patches", "registers"], "packed", "time_block_causal_last"),
        "transformer": _trunk("packed", dim, sizes.encoder_depth, sizes.head_dim),
        "unpacker": _unpacker("packed", ["patches_out", "registers_out"]),
        "to_codes": _node(
            "postprocessors.heads.LinearHead",
            read_key="registers_out",
            write_key="to_quantize",
            dim=dim,
            dim_out=len(sizes.levels),
            use_mup_readout=False,
        ),
    }


def _decoder(sizes: Sizes) -> dict[str, Any]:
    dim = sizes.decoder_width
    masked = {"read_write_key": "tokens", "dim": dim}
    return {
        "from_codes": _node(
            "preprocessors.linear.LinearLayer",
            read_key="codes",
            write_key="tokens",
            dim_in=len(sizes.levels),
            dim=dim,
        ),
        "token_positions": _positions("tokens", dim, 2, max(sizes.num_registers, sizes.latent_size[0])),
        "dec_nested_dropout": _node("preprocessors.token_dropout.MaskedNestedDropout", **masked),
        "dec_prefix_masking": _node("preprocessors.token_dropout.MaskedPrefixDropout", **masked),
        "null": _node("preprocessors.nullcond.LearnedNullCond", **masked),
        "channels_last": _move("noisy", "noisy_cl", "channels_first_to_last"),
        "patches": _patches("noisy_cl", "patches", sizes, dim),
        "patch_positions": _positions("patches", dim, 3, _table_size(sizes)),
        "time": _node(
            "preprocessors.time_embedding.TimestepEmbedder",
            timesteps_read_key="time",
            time_embedding_write_key="time_embedding",
            dim=dim,
            max_timestep=1.0,
        ),
        "packer": _packer(
            ["tokens", "patches"],
            "packed",
            sizes.decoder_mask,
            emb_packing_fn_write_key="packing",
            per_subseq_embs=True,
        ),
        "transformer": _trunk(
            "packed",
            dim,
            sizes.decoder_depth,
            sizes.head_dim,
            adaLN_emb_read_key="time_embedding",
            adaLN_packing_fn_read_key="packing",
            adaLN_expansion=2,
        ),
        "unpacker": _unpacker("packed", ["tokens_out", "patches_out"]),
        "to_patches": _node(
            "postprocessors.heads.ToPatchesLinearHead",
            read_key="patches_out",
            write_key="velocity",
            dim=dim,
            channels_out=LATENT_CHANNELS,
            patch_sizes=list(sizes.patch),
            use_mup_readout=False,
            adaLN_emb_read_key="time_embedding",
        ),
        "channels_first": _move("velocity", "latents_out", "channels_last_to_first"),
    }
