"""Single rules against the reference's numbers; tolerances are those that units.json states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from flextok.guidance import APGSettings
from flextok.models.layers.transformer import TimestepEmbedder
from flextok.pipelines.sampling import Guidance
from flextok.quantizers.fsq import FSQ
from flextok.released.layout import Layout, build_layout, mask_rule
from flextok.released.masks import CROSS_FRAME_RULES, attention_mask
from flextok.released.nodes.tokens import PositionalEmbeddingAdder, patchify, unpatchify
from flextok.released.preprocess import PreprocessOptions, frame_indices, to_pixels
from flextok.released.reference import LeakyGuidance

Units = dict[str, Any]
Tensors = dict[str, Tensor]
ATOL = 1e-6


def close(ours: Tensor, theirs: Tensor, atol: float = ATOL) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_fsq(units: Units, tensors: Tensors) -> None:
    for case in units["fsq"]:
        fsq, name = FSQ(case["levels"]), case["prefix"]
        z = tensors[f"{name}.z"]
        close(fsq.bound(z), tensors[f"{name}.bounded"])
        codes = fsq.quantize(z)
        close(codes, tensors[f"{name}.quant"])
        assert torch.equal(fsq.codes_to_ids(codes), tensors[f"{name}.token"])
        close(fsq.ids_to_codes(tensors[f"{name}.ids"]), tensors[f"{name}.ids_quant"])
        assert fsq.num_ids == case["codebook_size"]


def test_time_features(units: Units, tensors: Tensors) -> None:
    for case in units["time"]:
        embedder = TimestepEmbedder(4, case["frequency_embedding_size"], case["max_timestep"])
        close(embedder.features(tensors[f"{case['prefix']}.t"]), tensors[f"{case['prefix']}.emb"], atol=1e-4)


def test_masks(units: Units, tensors: Tensors) -> None:
    for case in units["masks"]:
        per_step, steps, samples = case["tokens_per_step"], case["time_steps"], case["samples"]
        length = sum(per_step)
        frames, indices = torch.arange(steps).repeat_interleave(length), torch.arange(length).repeat(steps)
        rules = {key: case[key] for key in CROSS_FRAME_RULES} if "prefix2prefix" in case else None
        mask = attention_mask(case["mask_mode"], frames, indices, sum(per_step[:-1]), rules)
        theirs = tensors[case["name"]].bool()
        real = samples * steps * length  # padding rows mean nothing
        assert torch.equal(torch.block_diag(*[mask] * samples).bool(), theirs[:real, :real]), case["name"]
        assert not theirs[:real, real:].any()


def test_attention_in_pieces_follows_every_mask(units: Units, tensors: Tensors) -> None:
    """Dense pieces and masked ones together give what one attention under the whole mask gives."""
    generator = torch.Generator().manual_seed(0)
    for case in units["masks"]:
        rules = {key: case[key] for key in CROSS_FRAME_RULES} if "prefix2prefix" in case else None
        steps, samples = case["time_steps"], case["samples"]
        lists = [torch.randn(samples, steps, n, 6, generator=generator) for n in case["tokens_per_step"]]
        layout = build_layout(lists, (False, False), mask_rule(case["mask_mode"], rules))
        q, k, v = (torch.randn(1, 2, layout.num_rows, 3, generator=generator) for _ in range(3))
        mask = tensors[case["name"]].bool()[: layout.num_rows, : layout.num_rows]
        whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.7)
        close(layout.attend(q, k, v, 0.7), whole.transpose(1, 2))


def test_patches(units: Units, tensors: Tensors) -> None:
    for case in units["patchify"]:
        patch, name = tuple(case["patch_sizes"]), case["prefix"]
        close(patchify(tensors[f"{name}.x"], patch), tensors[f"{name}.y"])
        close(unpatchify(tensors[f"{name}.y"], patch), tensors[f"{name}.x"])


def test_position_tables(units: Units, tensors: Tensors) -> None:
    for case in units["posemb"]:
        if "prefix" not in case:  # the initial value of a sincos table, which checkpoints store
            continue
        parameter, shape = tensors[f"{case['prefix']}.param"], tuple(case["shape"])
        adder = PositionalEmbeddingAdder(
            read_key="x",
            write_key="x",
            dim=parameter.shape[2],
            max_sizes=(parameter.shape[3],) * len(shape),
            posemb_type=case["posemb_type"],
            posemb_scaling=case["posemb_scaling"],
        )
        adder.load_state_dict({"posembs": parameter})
        close(adder(shape), tensors[f"{case['prefix']}.out"][0].movedim(0, -1))


def test_sincos_tables_are_read_as_stored(tensors: Tensors) -> None:
    adder = PositionalEmbeddingAdder(read_key="x", write_key="x", dim=48, max_sizes=(6, 24))
    adder.load_state_dict({"posembs": tensors["posemb.sincos"]})
    close(adder((4, 20)), tensors["posemb.sincos"][0, :, :4, :20].movedim(0, -1))


def test_modulation_vectors_are_laid_out_list_by_list(tensors: Tensors) -> None:
    """[list 0 | list 1] of a sample's vector, to each token of a frame the part of its list."""
    lists = [torch.zeros(1, 1, 3, 12), torch.zeros(1, 1, 2, 12)]
    layout: Layout = build_layout(lists, (False, False), mask_rule("full", None))
    for sample, vectors in enumerate(tensors["adaln.in"]):
        packed = torch.zeros(1, 5, 12)
        for index, view in layout.views(packed):
            view += vectors.unflatten(0, (2, 12))[index]
        assert torch.equal(packed[0], tensors["adaln.out"][0, 5 * sample : 5 * sample + 5])


def test_guidance(units: Units, tensors: Tensors) -> None:
    for case in units["guidance"]:
        cond, uncond, theirs = (tensors[f"{case['prefix']}.{part}"] for part in ("cond", "uncond", "out"))
        if case["kind"] == "cfg":
            close(Guidance(case["guidance_scale"]).combine(cond, uncond, 0.5, None)[0], theirs)
            continue
        apg = APGSettings(case["eta"], case["norm_threshold"], case["momentum"])
        guidance = LeakyGuidance(case["guidance_scale"], apg)
        average = None
        for step in range(len(cond)):
            ours, average = guidance.combine(cond[step, :, 0], uncond[step, :, 0], 0.5, average)
            close(ours, theirs[step, :, 0])


def test_samples_do_not_leak_into_each_other_by_default(tensors: Tensors) -> None:
    cond, uncond = tensors["apg2.cond"][:, :, 0], tensors["apg2.uncond"][:, :, 0]
    guidance = Guidance(6.0, APGSettings(momentum=-0.5, norm_threshold=0.0))
    together, alone = None, None
    for step in range(len(cond)):
        both, together = guidance.combine(cond[step], uncond[step], 0.5, together)
        one, alone = guidance.combine(cond[step, 1:], uncond[step, 1:], 0.5, alone)
        assert torch.equal(both[1:], one)


def test_frame_indices(units: Units) -> None:
    for case in units["frame_index"]:
        options = PreprocessOptions.from_config(case["args"])
        if "error" in case:
            with pytest.raises(ValueError, match="exactly one of fps and num_frames"):
                frame_indices(case["total_frames"], case["video_fps"], options)
        else:
            assert frame_indices(case["total_frames"], case["video_fps"], options) == case["index"]


def test_pixels(units: Units, tensors: Tensors) -> None:
    for case in units["preprocess"]:
        ours = to_pixels(tensors[f"{case['prefix']}.frames"].numpy(), case["size"])
        close(ours, tensors[f"{case['prefix']}.out"], atol=1e-5)


def test_both_names_of_the_overlap_are_accepted_and_others_warn() -> None:
    assert PreprocessOptions.from_config({"overlap_size_frames": 5}).overlap_size == 5
    assert PreprocessOptions.from_config({"overlap_size": 5}).overlap_size == 5
    with pytest.warns(UserWarning, match="'colour'"):
        PreprocessOptions.from_config({"colour": 1})
