"""Videos to tokens and back: chunks of any length, several budgets and seeds at once, conditioning, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flextok.bench.synthetic import TINY, synthetic_config, write_checkpoint
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.load import load_released
from flextok.video.write import write_video

ATOL = 2e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("checkpoint")
    config = synthetic_config(replace(TINY, decoder_mask="time_block_causal"))
    write_checkpoint(target, config | {"video_preprocess_args": {"size": 32, "overlap_size_frames": 1}}, TINY.vae)
    return target


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> VideoTokenizerPipeline:
    return load_released(folder)


@pytest.fixture
def reference(folder: Path) -> VideoTokenizerPipeline:
    torch.manual_seed(0)
    return load_released(folder, reference=True)


def video(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, frames, 32, 32, generator=seeded(seed)) * 2 - 1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decode(pipeline: VideoTokenizerPipeline, ids: Tensor, **options: Any) -> Tensor:
    defaults: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 3.0, "generator": seeded(1)}
    return pipeline.detokenize(ids, **(defaults | options)).frames


# --- tokenizing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "latent"), [(17, 5), (33, 9), (49, 13)])
def test_whole_chunks_become_tokens(pipeline: VideoTokenizerPipeline, frames: int, latent: int) -> None:
    ids = pipeline.tokenize(video(frames))
    assert ids.shape == (1, latent, 16)
    assert ids.dtype == torch.int64
    assert torch.equal(pipeline.tokenize(video(frames), keep_k=3), ids[:, :, :3])


@pytest.mark.parametrize("frames", [1, 16, 18, 40])
def test_other_lengths_are_refused_with_the_nearest_ones(pipeline: VideoTokenizerPipeline, frames: int) -> None:
    with pytest.raises(ValueError, match=r"must be 17 \+ 16\*n; nearest"):
        pipeline.tokenize(video(frames))


def test_tokens_do_not_depend_on_later_frames_or_on_other_clips(pipeline: VideoTokenizerPipeline) -> None:
    clip = video(33)
    changed = clip.clone()
    changed[:, :, 18:] = 0
    ids = pipeline.tokenize(clip)
    assert torch.equal(pipeline.tokenize(changed)[:, :5], ids[:, :5])
    assert not torch.equal(pipeline.tokenize(changed)[:, 5:], ids[:, 5:])
    assert torch.equal(pipeline.tokenize(torch.cat([video(33, seed=5), clip]))[1:], ids)


def test_tokens_are_the_same_every_time_unless_a_generator_draws(pipeline: VideoTokenizerPipeline) -> None:
    clip = video(17)
    torch.manual_seed(0)
    ids = pipeline.tokenize(clip)
    torch.manual_seed(1)
    assert torch.equal(pipeline.tokenize(clip), ids)
    drawn = pipeline.tokenize(clip, generator=seeded(0))
    assert torch.equal(pipeline.tokenize(clip, generator=seeded(0)), drawn)
    assert not torch.equal(pipeline.tokenize(clip, generator=seeded(1)), drawn)


def test_the_reference_draws_from_the_global_generator_and_drops_frames(
    reference: VideoTokenizerPipeline,
) -> None:
    torch.manual_seed(3)
    ids = reference.tokenize(video(17), generator=seeded(0))
    torch.manual_seed(3)
    assert torch.equal(reference.tokenize(torch.cat([video(17), video(15)], dim=2)), ids)
    assert not torch.equal(reference.tokenize(video(17)), ids)
    with pytest.raises(ValueError, match="16 frames are fewer than a chunk of 17"):
        reference.tokenize(video(16))


# --- decoding ---------------------------------------------------------------------------------------------


def test_frames_come_back_in_whole_chunks_and_padding_is_cut_off(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(33))
    assert decode(pipeline, ids).shape == (1, 3, 33, 32, 32)
    assert torch.equal(decode(pipeline, ids, num_frames=20), decode(pipeline, ids)[:, :, :20])
    streamed = list(pipeline.stream(ids, num_inference_steps=2, guidance_scale=3.0, generator=seeded(1)))
    assert [chunk.shape[2] for chunk in streamed] == [17, 16]
    assert torch.equal(torch.cat(streamed, dim=2), decode(pipeline, ids))


def test_same_seed_same_video(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(33))
    assert torch.equal(decode(pipeline, ids), decode(pipeline, ids))
    assert not torch.equal(decode(pipeline, ids), decode(pipeline, ids, generator=seeded(2)))


def test_several_budgets_of_a_clip_are_one_batch_from_one_noise(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(33))
    together = decode(pipeline, ids, keep_k=[1, 4, 16])
    for index, k in enumerate((1, 4, 16)):
        alone = decode(pipeline, ids, keep_k=k)
        torch.testing.assert_close(together[index : index + 1], alone, atol=ATOL, rtol=0)
    torch.testing.assert_close(together[2:], decode(pipeline, ids), atol=ATOL, rtol=0)


def test_several_seeds_of_a_clip_are_one_batch(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(17))
    together = decode(pipeline, ids.expand(2, -1, -1), generator=[seeded(1), seeded(2)])
    torch.testing.assert_close(together[1:], decode(pipeline, ids, generator=seeded(2)), atol=ATOL, rtol=0)


def test_samples_of_a_batch_do_not_touch_each_other(pipeline: VideoTokenizerPipeline) -> None:
    from flextok.guidance import APGSettings

    ids = pipeline.tokenize(video(17, batch=2))
    noise = torch.randn(2, 16, 5, 4, 4, generator=seeded(4))
    options = {"apg": APGSettings(momentum=-0.5), "guidance_scale": 8.0, "num_inference_steps": 3}
    both = decode(pipeline, ids, latents=noise, **options)
    torch.testing.assert_close(both[1:], decode(pipeline, ids[1:], latents=noise[1:], **options), atol=ATOL, rtol=0)


def test_truncated_tokens_decode_over_several_chunks(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(33))[:, :, :6]
    assert decode(pipeline, ids).shape == (1, 3, 33, 32, 32)


def test_the_reference_refuses_truncated_tokens_over_several_chunks(reference: VideoTokenizerPipeline) -> None:
    with pytest.raises(ValueError, match="use keep_k"):
        decode(reference, torch.zeros(1, 9, 6, dtype=torch.long))


@pytest.mark.parametrize("how", ["clean", "sdedit"])
def test_given_frames_shape_the_beginning(pipeline: VideoTokenizerPipeline, how: str) -> None:
    ids = pipeline.tokenize(video(17))
    given = video(5, seed=9)
    frames = decode(pipeline, ids, conditioning_frames=given, condition_type=how)
    assert frames.shape == (1, 3, 17, 32, 32)
    assert not torch.equal(frames, decode(pipeline, ids))
    if how == "clean":
        latents = pipeline.tokenizer.vidtok.encode(given).mean
        chunk = next(pipeline.decode_chunks(ids, num_inference_steps=2, generator=seeded(1), conditioning_frames=given))
        assert torch.equal(chunk.latents[:, :, :2], latents)


def test_tokens_of_given_frames_are_skipped_only_where_the_decoder_masks_them(
    pipeline: VideoTokenizerPipeline, cases: Path
) -> None:
    assert not pipeline.tokenizer.needs_tokens_of_given_frames
    ids = torch.randint(0, 64000, (1, 9, 16), generator=seeded(0))
    skipped = decode(pipeline, ids)
    pipeline.tokenizer.needs_tokens_of_given_frames = True
    computed = decode(pipeline, ids)
    pipeline.tokenizer.needs_tokens_of_given_frames = False
    assert torch.equal(skipped, computed)
    assert load_released(cases / "case_a").tokenizer.needs_tokens_of_given_frames  # has no prefix masking
    assert not load_released(cases / "case_b").tokenizer.needs_tokens_of_given_frames


def test_callbacks_see_and_may_change_each_step(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(17))
    seen: list[tuple[int, float]] = []

    def watch(pipe: object, step: int, time: float, values: dict[str, Tensor]) -> dict[str, Tensor]:
        assert pipe is pipeline
        seen.append((step, time))
        return values

    def erase(_pipe: object, _step: int, _time: float, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": torch.zeros_like(values["latents"])}

    assert torch.equal(decode(pipeline, ids, callback_on_step_end=watch), decode(pipeline, ids))
    assert seen == [(0, 1.0), (1, 0.5)]
    erased = decode(pipeline, ids, callback_on_step_end=erase)
    assert torch.equal(erased, pipeline.tokenizer.vidtok.decode(torch.zeros(1, 16, 5, 4, 4)))


def test_it_moves_between_devices_as_any_pipeline(pipeline: VideoTokenizerPipeline) -> None:
    assert pipeline.to("cpu") is pipeline
    assert pipeline.device == torch.device("cpu")


def test_guidance_may_follow_time(pipeline: VideoTokenizerPipeline) -> None:
    ids = pipeline.tokenize(video(17))
    constant = decode(pipeline, ids, guidance_scale=lambda _t: 3.0)
    assert torch.equal(constant, decode(pipeline, ids))


def test_overlaps_of_none_and_of_several_latent_frames(tmp_path: Path) -> None:
    for overlap, frames, latent in ((0, 34, 10), (5, 29, 8)):
        write_checkpoint(tmp_path / str(overlap), synthetic_config(TINY) | {"overlap_size_frames": overlap}, TINY.vae)
        pipeline = load_released(tmp_path / str(overlap))
        ids = pipeline.tokenize(video(frames))
        assert ids.shape[1] == latent
        assert decode(pipeline, ids).shape[2] == frames


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep_k": 0}, r"keep_k=0 must be in 1\.\.16"),
        ({"keep_k": 17}, r"keep_k=17 must be in 1\.\.16"),
        ({"keep_k": [1, 2, 3]}, "token ids has 2 entries for a batch of 3"),
        ({"keep_k": 2.5}, "whole numbers"),
        ({"keep_k": []}, "whole numbers"),
        ({"num_inference_steps": 0}, "num_inference_steps=0"),
        ({"condition_type": "Clean"}, "condition_type='Clean'"),
        ({"generator": [seeded(0)]}, "1 generators do not fit 2"),
        ({"latents": torch.zeros(3, 16, 5, 4, 4)}, "for a batch of 3"),
        ({"guidance_scale": float("nan")}, "guidance_scale=nan must be"),
        ({"latent_size": (5, 2)}, "latent_size"),
        ({"latents": torch.zeros(5, 16)}, "latents must be"),
        ({"generator": []}, "empty list"),
        ({"conditioning_frames": torch.zeros(2, 3, 2, 32, 32)}, "conditioning_frames must be"),
        ({"conditioning_frames": torch.zeros(2, 3, 1, 16, 32)}, "conditioning_frames must be"),
        ({"conditioning_frames": torch.zeros(3, 3, 1, 32, 32)}, "conditioning_frames has 3 entries"),
        ({"conditioning_frames": torch.full((2, 3, 1, 32, 32), 255.0)}, "finite float values"),
    ],
)
def test_what_decoding_refuses(pipeline: VideoTokenizerPipeline, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(pipeline, torch.zeros(2, 5, 16, dtype=torch.long), **options)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (torch.zeros(5, 16, dtype=torch.long), r"must be \(b, t, K\)"),
        (torch.zeros(1, 7, 16, dtype=torch.long), "7 latent frames must be"),
        (torch.full((1, 5, 16), 64000), "token ids must be in"),
        (torch.zeros(1, 5, 16), "must be integers"),
        (torch.zeros(1, 5, 17, dtype=torch.long), "position"),
    ],
)
def test_tokens_that_are_refused(pipeline: VideoTokenizerPipeline, ids: Tensor, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(pipeline, ids)


@pytest.mark.parametrize("shape", [(3, 17, 32, 32), (1, 4, 17, 32, 32), (1, 3, 0, 32, 32), (1, 3, 17, 30, 32)])
def test_videos_that_are_refused(pipeline: VideoTokenizerPipeline, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="video must be"):
        pipeline.tokenize(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), 255.0])
def test_pixels_of_another_range_are_refused(pipeline: VideoTokenizerPipeline, value: float) -> None:
    with pytest.raises(ValueError, match="finite float values"):
        pipeline.tokenize(torch.full((1, 3, 17, 32, 32), value))


def test_checkpoints_without_masks_say_so(tmp_path: Path) -> None:
    config = synthetic_config(TINY)
    modules = config["video_flex_tok"]["decoder"]["module_dict"]
    for name in ("dec_nested_dropout", "null"):
        del modules[name]
    write_checkpoint(tmp_path, config, TINY.vae)
    pipeline = load_released(tmp_path)
    ids = torch.zeros(1, 5, 16, dtype=torch.long)
    assert decode(pipeline, ids, guidance_scale=None).shape == (1, 3, 17, 32, 32)
    with pytest.raises(ValueError, match="no null token"):
        decode(pipeline, ids, guidance_scale=3.0)
    with pytest.raises(ValueError, match="no nested dropout"):
        decode(pipeline, ids, keep_k=4, guidance_scale=1.0)


# --- files ------------------------------------------------------------------------------------------------


def test_files_are_read_at_the_rate_and_size_of_the_checkpoint(
    pipeline: VideoTokenizerPipeline, reference: VideoTokenizerPipeline, tmp_path: Path
) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (48, 48, 64, 3), dtype=np.uint8)
    write_video(frames, tmp_path / "clip.mp4", 16)
    clip = pipeline.read(tmp_path / "clip.mp4")
    assert clip.video.shape == (1, 3, 33, 32, 32)  # whole chunks ...
    assert (clip.num_real, clip.fps) == (24, 8)  # ... for 3 s at 8 fps
    assert torch.equal(clip.video[:, :, 23:], clip.video[:, :, 23:24].expand(-1, -1, 10, -1, -1))
    cut = pipeline.read(tmp_path / "clip.mp4", max_chunks=1, start_s=1.0)
    assert torch.equal(cut.video[:, :, :16], clip.video[:, :, 8:24])
    assert reference.read(tmp_path / "clip.mp4").video.shape == (1, 3, 33, 32, 32)  # spread over whole chunks
    with pytest.raises(ValueError, match="takes no fps"):
        reference.read(tmp_path / "clip.mp4", start_s=1.0)
