"""Class, text and long video, with small untrained networks: shapes, seeds, prefixes, chunks and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from flextok.generators import load_generator
from flextok.loading.errors import CheckpointError
from flextok.models.ar_transformer import ARTransformer
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.prompts import chunk_prompts
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

SMALL = {"dim": 32, "head_dim": 16}


@pytest.fixture(scope="module")
def pipe() -> VideoGeneratorPipeline:
    torch.manual_seed(0)
    pipe = VideoGeneratorPipeline(
        AutoencoderCausalVideo(16, (8, 8), (8, 8), (1, 1), (1, 1)),
        RegisterTokenizer(num_registers=4, levels=(3, 2), encoder_depth=1, decoder_depth=1, **SMALL),
        RectifiedFlowScheduler(),
        ARTransformer(
            tokens_per_frame=4, levels=(3, 2), classes=("bounces", "drops"), words=("a", "ball", "red", "bounces"),
            depth=1, text_depth=1, **SMALL,
        ),
        name="test",
        num_inference_steps=1,
    )  # fmt: skip
    for part in (pipe.vae, pipe.tokenizer, pipe.transformer):
        for parameter in part.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
        part.eval()
    return pipe


def _seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def test_a_batch_is_its_clips_one_by_one(pipe: VideoGeneratorPipeline) -> None:
    both = pipe(action=["bounces", "drops"], keep_k=2, generator=[_seed(1), _seed(2)])
    assert both.frames.shape == (2, 3, 17, 64, 64)
    assert both.token_ids.shape == (2, 5, 2)
    for index, action in enumerate(("bounces", "drops")):
        alone = pipe(action=action, keep_k=2, generator=_seed(index + 1))
        assert torch.equal(alone.token_ids[0], both.token_ids[index])
        torch.testing.assert_close(alone.frames[0], both.frames[index], atol=1e-4, rtol=1e-4)


def test_budgets_are_prefixes_of_one_sequence(pipe: VideoGeneratorPipeline) -> None:
    results = list(pipe.refine(prompt="a red ball", budgets=(1, 2, 4), generator=_seed(3)))
    assert [r.token_ids.shape[2] for r in results] == [1, 2, 4]
    for result in results:
        assert torch.equal(result.token_ids, results[-1].token_ids[:, :, : result.token_ids.shape[2]])
        assert result.frames.shape == (1, 3, 17, 64, 64)


def test_every_budget_has_its_guidance(pipe: VideoGeneratorPipeline) -> None:
    parts = (pipe.vae, pipe.tokenizer, pipe.scheduler, pipe.transformer)
    other = VideoGeneratorPipeline(*parts, guidance_scale=4.0, guidance_by_budget={"2": 2.0, "4": 1.5})
    assert [other.default_guidance(k) for k in (1, 2, 3, 4)] == [4.0, 2.0, 2.0, 1.5]
    with pytest.raises((TypeError, ValueError)):
        VideoGeneratorPipeline(*parts, guidance_by_budget={"two": 2.0}).default_guidance(4)


def test_long_video_streams_chunks_that_go_on(pipe: VideoGeneratorPipeline) -> None:
    chunks = list(pipe.stream("a red ball", keep_k=2, num_frames=49, generator=_seed(4)))
    assert [c.frames.shape[2] for c in chunks] == [17, 16, 16]
    assert [c.token_ids.shape[1] for c in chunks] == [5, 4, 4]
    whole = pipe("a red ball", num_frames=49, keep_k=2, generator=_seed(4))
    assert torch.equal(whole.frames, torch.cat([c.frames for c in chunks], dim=2))
    short = pipe("a red ball", keep_k=2, generator=_seed(4))
    assert torch.equal(short.frames, whole.frames[:, :, :17])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "one of the two"),
        ({"prompt": "a", "action": "drops"}, "one of the two"),
        ({"prompt": ""}, "empty"),
        ({"prompt": "   "}, "empty"),
        ({"prompt": ["a ball", 5]}, "a text"),
        ({"prompt": "\udcff ball"}, "no text"),
        ({"prompt": "elephant zebra"}, "does not know: elephant, zebra"),
        ({"prompt": "a red " * 100}, "words"),
        ({"action": "flies"}, "not one of the actions"),
        ({"action": []}, "nothing"),
        ({"action": "drops", "keep_k": 0}, "keep_k=0"),
        ({"action": "drops", "keep_k": 5}, "keep_k=5"),
        ({"action": "drops", "num_frames": 20}, "nearest"),
        ({"action": "drops", "num_frames": 17 + 16 * 100}, "at most"),
        ({"action": "drops", "temperature": -1.0}, "temperature"),
        ({"action": "drops", "temperature": "hot"}, "temperature"),
        ({"action": "drops", "top_k": 2.5}, "top_k"),
        ({"action": "drops", "keep_k": 1.5}, "keep_k"),
        ({"action": "drops", "num_frames": 17.0}, "num_frames"),
        ({"prompt": 5}, "is a text"),
        ({"prompt": b"a ball"}, "is a text"),
        ({"action": ["drops", "drops"], "generator": [_seed(0)]}, "generators"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    pipe: VideoGeneratorPipeline, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        pipe(**arguments)  # type: ignore[arg-type]


def test_the_decoder_follows_the_parts(pipe: VideoGeneratorPipeline) -> None:
    other = VideoGeneratorPipeline(pipe.vae, pipe.tokenizer, RectifiedFlowScheduler(), pipe.transformer, "other")
    before = other("a red ball", keep_k=1, num_inference_steps=3, generator=_seed(1)).frames
    other.scheduler = RectifiedFlowScheduler(shift=2.0)
    after = other("a red ball", keep_k=1, num_inference_steps=3, generator=_seed(1)).frames
    assert not torch.equal(before, after)


def test_only_one_clip_is_refined_at_a_time(pipe: VideoGeneratorPipeline) -> None:
    for arguments, sentence in (
        ({"prompt": ["a", "red"], "budgets": (1,)}, "one clip"),
        ({"prompt": "a", "budgets": ()}, "budgets"),
    ):
        with pytest.raises(ValueError, match=sentence):
            list(pipe.refine(**arguments))  # type: ignore[arg-type]


def test_unknown_words_are_named_and_left_out(pipe: VideoGeneratorPipeline) -> None:
    assert pipe.unknown_words("a Red elephant, a ball") == ["elephant"]
    with_one = pipe("a red elephant ball", keep_k=1, generator=_seed(5))
    assert torch.equal(with_one.token_ids, pipe("a red ball", keep_k=1, generator=_seed(5)).token_ids)


def test_saved_and_loaded_is_the_same(pipe: VideoGeneratorPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    loaded = load_generator(tmp_path)
    assert loaded.info == pipe.info
    a, b = (p(action="drops", keep_k=3, generator=_seed(6)) for p in (pipe, loaded))
    assert torch.equal(a.token_ids, b.token_ids)
    assert torch.equal(a.frames, b.frames)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for wrong in ({"two": 3.0}, {"2": "much"}, [3.0]):
        (tmp_path / "model_index.json").write_text(json.dumps({**index, "guidance_by_budget": wrong}))
        with pytest.raises(CheckpointError, match="guidance"):
            load_generator(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "transformer/diffusion_pytorch_model.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="safetensors"):
        load_generator(tmp_path)
    with pytest.raises(CheckpointError, match="not a folder"):
        load_generator("nobody/nothing")


def test_a_story_may_be_longer_than_a_prompt(pipe: VideoGeneratorPipeline) -> None:
    longest = pipe.transformer.config.max_words
    story = "a red ball " + ", then ".join(["bounces"] * longest)
    assert pipe(story, keep_k=1, num_frames=33, generator=_seed(1)).frames.shape[2] == 33
    assert pipe("zebra " * 300 + "a red ball", keep_k=1, generator=_seed(1)).frames.shape[2] == 17


def test_chunk_prompts() -> None:
    text = "a large red ball rolls left, then bounces and then spins near a blue cube on grass"
    assert chunk_prompts(text, 4) == [
        "a large red ball rolls left near a blue cube on grass",
        "a large red ball bounces near a blue cube on grass",
        "a large red ball spins near a blue cube on grass",
        "a large red ball spins near a blue cube on grass",
    ]
    assert chunk_prompts("a red ball bounces up and down on sand", 2) == ["a red ball bounces up and down on sand"] * 2
    assert chunk_prompts("", 1) == [""]
