"""What users of diffusers do with any pipeline: offload, cast, shard, replace the scheduler, call back, compile."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.callbacks import PipelineCallback
from PIL import Image
from torch import Tensor

from flextok.api import load_folder
from flextok.generators import load_generator
from flextok.loading.errors import CheckpointError
from flextok.models.ar_transformer import ARTransformer
from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from tests.pipelines.test_pipeline_tokenizer import clip, make, seeded


def make_generator() -> VideoGeneratorPipeline:
    tokens = make("register")
    torch.manual_seed(1)
    transformer = ARTransformer(
        "time_first", 5, 4, (5, 4), ("bounces", "spins"), ("a", "red", "ball"), dim=32, depth=2, head_dim=16
    )
    pipe = VideoGeneratorPipeline(
        tokens.vae, tokens.tokenizer, tokens.scheduler, transformer.eval(), num_inference_steps=2
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def there_and_back(pipe: VideoTokenizerPipeline) -> Tensor:
    """33 frames, so that given frames are encoded on the way."""
    frames: Tensor = pipe(pipe.tokenize(clip(33)), generator=seeded()).frames
    return frames


def generated(pipe: VideoGeneratorPipeline) -> Tensor:
    frames: Tensor = pipe("a red ball", num_frames=33, generator=seeded()).frames
    return frames


def offload(pipe: Any, way: str) -> None:
    getattr(pipe, way)(device="cpu")
    for part in (part for part in pipe.components.values() if isinstance(part, torch.nn.Module)):
        for module in part.modules():
            # Accelerate takes cpu:0 for another device than cpu, and parameters become plain tensors on the way.
            hook = getattr(module, "_hf_hook", None)
            for one in getattr(hook, "hooks", (hook,)):
                if one is not None:
                    one.execution_device = torch.device("cpu")


@pytest.mark.parametrize("kind", ["register", "grid"])
@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_an_offloaded_tokenizer_computes_the_same(kind: str, way: str) -> None:
    expected, pipe = there_and_back(make(kind)), make(kind)
    offload(pipe, way)
    if way == "enable_sequential_cpu_offload":  # weights are nowhere until a hook brings them
        assert all(p.device.type == "meta" for p in pipe.vae.parameters())
    assert torch.equal(there_and_back(pipe), expected)
    assert torch.equal(there_and_back(pipe), expected)


@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_an_offloaded_generator_computes_the_same(way: str) -> None:
    expected, pipe = generated(make_generator()), make_generator()
    offload(pipe, way)
    assert torch.equal(generated(pipe), expected)


def test_every_part_is_brought_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one device offloading moves nothing, so this listens to the hooks."""
    pipe, brought = make_generator(), []
    pipe.enable_model_cpu_offload(device="cpu")
    for name in ("vae", "tokenizer", "transformer"):
        hook = getattr(pipe, name)._hf_hook
        before = hook.pre_forward

        def heard(*args: Any, name: str = name, before: Any = before, **kwargs: Any) -> Any:
            brought.append(name)
            return before(*args, **kwargs)

        monkeypatch.setattr(hook, "pre_forward", heard)
    generated(pipe)
    order = [name for i, name in enumerate(brought) if not i or brought[i - 1] != name]
    # The second chunk begins with the first one's last frame: read by VAE and encoder before more is drawn.
    assert order == ["transformer", "tokenizer", "vae", "tokenizer", "transformer", "vae", "tokenizer", "vae"]


@pytest.mark.parametrize("part", ["vae", "tokenizer", "transformer"])
def test_layerwise_casting_keeps_the_result_close(part: str) -> None:
    """float16 storage: its rounding is small beside what a wrongly cast activation would do."""
    pipe = make_generator()
    ids = pipe.decoder.tokenize(clip())
    sequence = pipe.transformer.token_order.flatten(ids)[:, :-1]

    def result() -> Tensor:
        if part == "transformer":
            condition = pipe.transformer.condition(torch.tensor([0]), torch.zeros(1, 1, dtype=torch.int64))
            return pipe.transformer(sequence, condition).detach()
        return pipe.decoder(ids, generator=seeded()).frames

    plain = result()
    getattr(pipe, part).enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    assert torch.float16 in {p.dtype for p in getattr(pipe, part).parameters()}
    difference = (result() - plain).abs().max()
    assert 0 < difference < 0.02 * plain.abs().max()


def test_float8_storage_runs() -> None:
    pipe = make_generator()
    for part in (pipe.vae, pipe.tokenizer, pipe.transformer):
        part.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert bool(generated(pipe).isfinite().all())
    assert bool(there_and_back(pipe.decoder).isfinite().all())


class HalfSteps(RectifiedFlowScheduler):
    """Goes half as far with each step."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        return super().step(model_output / 2, timestep, sample, return_dict)


def test_a_replaced_scheduler_is_used_or_refused() -> None:
    pipe = make("register")
    ids = pipe.tokenize(clip())
    plain = pipe(ids, generator=seeded(), output_type="latent").frames
    noise = pipe.prepare_latents(ids, seeded())
    pipe.scheduler = RectifiedFlowScheduler(shift=3.0)
    assert not torch.equal(pipe(ids, latents=noise, output_type="latent").frames, plain)
    pipe.scheduler = HalfSteps()
    one = pipe(ids, latents=noise, num_inference_steps=1, output_type="latent").frames
    pipe.scheduler = RectifiedFlowScheduler()
    whole = pipe(ids, latents=noise, num_inference_steps=1, output_type="latent").frames
    assert torch.allclose(one, (noise + whole) / 2, atol=1e-5)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(ValueError, match=r"must be a RectifiedFlowScheduler .* not a FlowMatchEulerDiscreteScheduler"):
        pipe(ids)
    with pytest.raises(ValueError, match="must be a RectifiedFlowScheduler"):
        VideoTokenizerPipeline(pipe.vae, pipe.tokenizer, FlowMatchEulerDiscreteScheduler())


def test_weights_in_shards_load_as_whole_ones(tmp_path: Path) -> None:
    pipe, generator = make("register"), make_generator()
    pipe.save_pretrained(tmp_path / "tokenizer", max_shard_size="10KB")
    generator.save_pretrained(tmp_path / "generator", max_shard_size="10KB")
    assert len(list((tmp_path / "tokenizer/tokenizer").glob("*-of-*.safetensors"))) > 1
    loaded = load_folder(tmp_path / "tokenizer")
    assert torch.equal(there_and_back(loaded), there_and_back(pipe))
    assert len(loaded.fingerprint) == 16
    assert torch.equal(generated(load_generator(tmp_path / "generator")), generated(generator))
    # A shard that is gone, or an index that leads elsewhere, is one sentence.
    shard = next((tmp_path / "tokenizer/tokenizer").glob("*-of-*.safetensors"))
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"{shard.name} is missing"):
        load_folder(tmp_path / "tokenizer")
    index = tmp_path / "tokenizer/tokenizer/diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    with pytest.raises(CheckpointError, match="does not name the files"):
        load_folder(tmp_path / "tokenizer")


class Cutoff(PipelineCallback):
    """As diffusers' own: leaves guidance off from a step on."""

    tensor_inputs = ("latents",)

    def callback_fn(self, pipeline: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]) -> Any:  # noqa: ARG002
        if step_index + 1 == int(pipeline.num_timesteps * self.config.cutoff_step_ratio):
            pipeline._guidance_scale = 1.0
        return callback_kwargs


def test_callbacks_find_steps_and_guidance_and_can_change_it() -> None:
    pipe = make("register")
    ids = pipe.tokenize(clip())
    noise = pipe.prepare_latents(ids, seeded())
    options: dict[str, Any] = {"latents": noise, "num_inference_steps": 4, "output_type": "latent", "apg": None}
    guided = pipe(ids, guidance_scale=3.0, **options).frames
    half = pipe(ids, guidance_scale=lambda sigma: 3.0 if sigma > 0.5 else 1.0, **options).frames
    cut = pipe(ids, guidance_scale=3.0, callback_on_step_end=Cutoff(cutoff_step_ratio=0.5), **options).frames
    assert torch.equal(cut, half)
    assert not torch.equal(cut, guided)
    seen: list[tuple[Any, ...]] = []

    def look(pipe: Any, index: int, timestep: Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
        seen.append((type(pipe), pipe.num_timesteps, pipe._guidance_scale, tuple(kwargs)))
        return kwargs

    generator = make_generator()
    plain = generated(generator)
    called = generator("a red ball", num_frames=33, generator=seeded(), callback_on_step_end=look).frames
    assert torch.equal(called, plain)
    assert seen == [(VideoGeneratorPipeline, 2, 3.0, ("latents",))] * 4


@pytest.mark.parametrize("kind", ["tokenizer", "generator"])
def test_output_types_are_those_of_diffusers(kind: str) -> None:
    pipe: Any = make("register") if kind == "tokenizer" else make_generator()
    asked: dict[str, Any] = {"token_ids": pipe.tokenize(clip())} if kind == "tokenizer" else {"action": "spins"}

    def call(**more: Any) -> Any:
        return pipe(**asked, generator=seeded(), **more)

    frames = call().frames
    assert torch.equal(call(return_dict=False)[0], frames)
    array = call(output_type="np").frames
    assert (array.shape, array.dtype) == ((1, 17, 16, 16, 3), np.float32)
    assert np.allclose(array, ((frames.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 4, 1).numpy())
    images = call(output_type="pil").frames
    assert [len(images), len(images[0])] == [1, 17]
    assert isinstance(images[0][0], Image.Image)
    assert np.abs(np.asarray(images[0][3], float) / 255 - array[0, 3]).max() <= 0.5 / 255 + 1e-6
    assert call(output_type="latent").frames.shape == (1, 4, 5, 2, 2)
    with pytest.raises(ValueError, match="output_type='mp4' must be one of pt, np, pil, latent"):
        call(output_type="mp4")


@pytest.mark.parametrize("steps", [np.int64(2), np.uint8(2)])
def test_whole_numbers_of_numpy_are_whole_numbers(steps: Any) -> None:
    pipe = make("register")
    ids = pipe.tokenize(clip(), keep_k=np.int64(4))
    expected = pipe(ids, 2, num_inference_steps=2, guidance_scale=2.0, generator=seeded(), num_frames=9).frames
    k, scale, frames = np.int32(2), np.float32(2), np.int16(9)
    found = pipe(ids, k, num_inference_steps=steps, guidance_scale=scale, generator=seeded(), num_frames=frames).frames
    assert torch.equal(found, expected)


@pytest.mark.slow
def test_the_generator_compiles_to_one_graph() -> None:
    model = make_generator().transformer
    condition = model.condition(torch.tensor([0]), torch.zeros(1, 1, dtype=torch.int64))
    sequence = torch.arange(7)[None]
    expected = model(sequence, condition)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True)
    assert torch.allclose(compiled(sequence, condition), expected, atol=1e-4)


@pytest.mark.parametrize("folder", ["embedded", "embedded-grid", "embedded-generator", "embedded-grid-generator"])
def test_cards_lead_to_this_library(folder: str, repository: Path) -> None:
    """The Hub shows code by `library_name`; diffusers' would fail, for it does not know these classes."""
    card = (repository / "assets" / folder / "README.md").read_text()
    assert "library_name: flextok-video\n" in card
    assert "import flextok\n" in card
    assert ("flextok.load_generator(" if "generator" in folder else "flextok.load_tokenizer(") in card
