"""Legal checkpoints and calls that the recorded cases do not hold: each once gave wrong numbers or an error."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from flextok.bench.expressions import guidance_expression
from flextok.bench.parity import check_case, main
from flextok.bench.synthetic import TINY, Sizes, synthetic_config, write_checkpoint
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.load import load_released

OPTIONS: dict[str, Any] = {"guidance_scale": 2.0, "apg": None}


def pipeline(folder: Path, sizes: Sizes = TINY, **changes: Any) -> VideoTokenizerPipeline:
    write_checkpoint(folder, {**synthetic_config(sizes), **changes}, sizes.vae)
    return load_released(folder, device="cpu")


def ids_of(pipe: VideoTokenizerPipeline, t: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, pipe.info.num_ids, (1, t, pipe.info.num_registers), generator=generator)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("chunk", "overlap", "latent"), [(9, 5, 3), (17, 9, 5), (17, 13, 5)])
def test_overlaps_longer_than_the_stride_decode(chunk: int, overlap: int, latent: int, tmp_path: Path) -> None:
    sizes = replace(TINY, latent_size=(latent, 4, 4))
    pipe = pipeline(tmp_path, sizes, chunk_size=chunk, overlap_size_frames=overlap)
    num_frames = chunk + 3 * (chunk - overlap)
    video = torch.rand(1, 3, num_frames, 32, 32, generator=seeded(0)) * 2 - 1
    ids = pipe.tokenize(video)
    frames = pipe.detokenize(ids, num_inference_steps=1, generator=seeded(0), **OPTIONS).frames
    assert frames.shape == video.shape


def test_streams_that_are_open_at_once_do_not_meet(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    ids = ids_of(pipe, 9)

    def stream(steps: int) -> Any:
        return pipe.stream(ids, num_inference_steps=steps, generator=seeded(0), **OPTIONS)

    alone = list(stream(3))
    first = stream(3)
    together = [next(first)]
    list(stream(1))
    together.append(next(first))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_guidance_sees_the_exact_time(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    seen: list[float] = []

    def scale(time: float) -> float:
        seen.append(time)
        return 1.5

    pipe.detokenize(ids_of(pipe, 5), num_inference_steps=5, guidance_scale=scale, apg=None)
    assert seen == [1.0, 4 / 5, 3 / 5, 2 / 5, 1 / 5]


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2)])
def test_single_files_of_small_models_load(patch: tuple[int, int, int], tmp_path: Path) -> None:
    """Their position tables end at the model's own size, so they cannot be tried at any other."""
    sizes = replace(TINY, patch=patch)
    config = synthetic_config(sizes)
    write_checkpoint(tmp_path / "folder", config, sizes.vae)
    weights = load_file(tmp_path / "folder/model.safetensors")
    metadata = {key: str(value) for key, value in config["video_flex_tok"].items()}
    single = tmp_path / "single.safetensors"
    save_file({k.removeprefix("video_tokenizer."): v for k, v in weights.items()}, single, metadata=metadata)
    ids = ids_of(load_released(tmp_path / "folder", device="cpu"), 5)
    frames = [
        load_released(path, device="cpu")
        .detokenize(ids, num_inference_steps=1, generator=seeded(0), latent_size=sizes.latent_size, **OPTIONS)
        .frames
        for path in (tmp_path / "folder", single)
    ]
    assert torch.equal(*frames)


def test_reference_mode_computes_in_float32(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, synthetic_config(TINY), TINY.vae)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: value.bfloat16() for name, value in weights.items()}, tmp_path / "model.safetensors")
    assert load_released(tmp_path, device="cpu").tokenizer.vidtok.dtype == torch.bfloat16
    assert load_released(tmp_path, device="cpu", reference=True).tokenizer.vidtok.dtype == torch.float32


def test_a_callers_autocast_changes_nothing(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    video = torch.rand(1, 3, 17, 32, 32, generator=seeded(0)) * 2 - 1
    options: dict[str, Any] = {"num_inference_steps": 1, **OPTIONS}
    ids, frames = pipe.tokenize(video), pipe.detokenize(ids_of(pipe, 5), generator=seeded(0), **options).frames
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pipe.tokenize(video), ids)
        assert torch.equal(pipe.detokenize(ids_of(pipe, 5), generator=seeded(0), **options).frames, frames)


def test_several_seeds_of_a_clip_are_one_batch(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    ids, options = ids_of(pipe, 5), {"num_inference_steps": 2, "keep_k": 4, **OPTIONS}
    together = pipe.detokenize(ids, generator=[seeded(1), seeded(2)], **options).frames
    apart = [pipe.detokenize(ids, generator=seeded(seed), **options).frames for seed in (1, 2)]
    # Rounding of another batch size: 1.3e-5 measured.
    torch.testing.assert_close(together, torch.cat(apart), atol=5e-5, rtol=0)
    with pytest.raises(ValueError, match="3 generators"):
        pipe.detokenize(ids.expand(2, -1, -1), generator=[seeded(i) for i in range(3)], **options)


def test_huge_position_tables_cost_what_is_used_of_them(tmp_path: Path) -> None:
    """A table for 64 x 64 x 64 places, whole, would take 64 MiB at this width; 5 x 4 x 4 of it are used."""
    config = synthetic_config(TINY)
    decoder = config["video_flex_tok"]["decoder"]["module_dict"]
    decoder["patch_positions"]["max_sizes"] = [64] * 3
    write_checkpoint(tmp_path, config, TINY.vae)
    small = pipeline(tmp_path / "small").memory.total
    assert load_released(tmp_path, device="cpu").memory.total < 1.2 * small


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("callable t -> 1.0 + 4.0*t", {0.5: 3.0}),
        ("lambda t: 3.0 if 0.3 < t < 0.8 else 1.0", {0.2: 1.0, 0.5: 3.0, 0.9: 1.0}),
        ("t -> max(1.0, min(+t * 10, 5.0))", {0.05: 1.0, 0.3: 3.0, 1.0: 5.0}),
        ("t -> 2.0 if t > 0.5 and not t > 0.8 or t < 0.1 else 1.0", {0.05: 2.0, 0.6: 2.0, 0.9: 1.0}),
    ],
)
def test_guidance_expressions(text: str, values: dict[float, float]) -> None:
    function = guidance_expression(text)
    assert callable(function)
    assert {t: function(t) for t in values} == pytest.approx(values)


@pytest.mark.parametrize("text", ["t -> (", "t -> __import__('os')", "t -> t.real", "t -> 1 / (t - t)", "t -> 'a' * t"])
def test_guidance_expressions_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="t"):
        guidance_expression(text)


def test_parity_does_not_pass_for_want_of_comparisons(
    cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (cases / "case_b").iterdir():
        (tmp_path / file.name).symlink_to(file)
    facts = json.loads((tmp_path / "case.json").read_text())
    (tmp_path / "case.json").unlink()

    def status(**changes: Any) -> int:
        (tmp_path / "case.json").write_text(json.dumps({**copy.deepcopy(facts), **changes}))
        return main([str(tmp_path)])

    assert status(runs={}) == 1
    assert "nothing was compared" in capsys.readouterr().out
    assert status(runs={"tok": facts["runs"]["tok"], "new": []}) == 1
    assert status(runs={"tok": facts["runs"]["tok"]}) == 0
    assert "not compared" in capsys.readouterr().out


def test_parity_fills_in_what_a_run_leaves_out(cases: Path, tmp_path: Path) -> None:
    for file in (cases / "case_b").iterdir():
        (tmp_path / file.name).symlink_to(file)
    facts = json.loads((tmp_path / "case.json").read_text())
    (tmp_path / "case.json").unlink()
    runs = [run for run in facts["runs"]["det"] if not run["arguments"]["perform_norm_guidance"]][:1]
    for name in ("eta", "momentum", "norm_threshold", "perform_norm_guidance", "cond_type"):
        del runs[0]["arguments"][name]
    (tmp_path / "case.json").write_text(json.dumps({**facts, "runs": {"det": runs}}))
    assert check_case(tmp_path).failures == []
