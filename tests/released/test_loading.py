"""Loading: sizes and memory known beforehand, precision, offloading, the Hub's errors, our own format."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.errors as hub_errors
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flextok.bench.synthetic import TINY, synthetic_config, write_checkpoint
from flextok.loading import hub
from flextok.loading.errors import CheckpointError
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released import memory
from flextok.released.config import parse_config
from flextok.released.load import is_released, load_released, open_checkpoint
from flextok.released.memory import InsufficientMemoryError, estimate_memory
from flextok.released.model import OneChunkModel
from flextok.released.placement import set_dtypes
from flextok.released.vae import VAESize

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, synthetic_config(TINY), TINY.vae)
    return folder


def clip(frames: int = 17) -> torch.Tensor:
    ramp = torch.linspace(-1, 1, 32)
    return (ramp[:, None] * ramp).expand(1, 3, frames, 32, 32).contiguous()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def decoded(pipeline: VideoTokenizerPipeline, **options: Any) -> torch.Tensor:
    ids = torch.arange(80).reshape(1, 5, 16) * 700
    return pipeline.detokenize(ids, num_inference_steps=2, generator=generator(), **options).frames


# --- before loading ---------------------------------------------------------------------------------------


def full_size(cases: Path, name: str) -> tuple[OneChunkModel, tuple[int, int, int]]:
    config = parse_config(json.loads((cases / "plausible" / f"{name}.config.json").read_text()))
    assert config.vae_video_sizes is not None
    return OneChunkModel(config, VAESize()), config.vae_video_sizes


@pytest.mark.parametrize(
    ("name", "decoder_billions", "latent"), [("d18_d28", 2.25, (5, 32, 32)), ("d18_d18_k600", 0.58, (5, 16, 16))]
)
def test_full_size_models_are_built_empty_in_seconds(
    cases: Path, name: str, decoder_billions: float, latent: tuple[int, int, int]
) -> None:
    started = time.perf_counter()
    model, size = full_size(cases, name)
    model.check_shapes(size)
    assert model.num_registers == 256
    assert time.perf_counter() - started < 10
    assert size == latent
    counts = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("vae", "encoder", "decoder")}
    assert round(counts["vae"] / 1e6) == 158
    assert round(counts["encoder"] / 1e6) == 288
    assert round(counts["decoder"] / 1e9, 2) == decoder_billions
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_full_size_vae_has_the_certain_names_and_shapes(cases: Path) -> None:
    model, _ = full_size(cases, "d18_d28")
    certain = {
        name: tuple(shape)
        for name, shape, _ in json.loads((cases / "plausible" / "vae_full_keys.json").read_text())["keys"]
    }
    assert {name: tuple(t.shape) for name, t in model.vae.state_dict().items()} == certain


def test_memory_of_full_size_models_is_estimated(cases: Path) -> None:
    model, size = full_size(cases, "d18_d28")
    model.drop_unused()  # 79 million weights of the REPA head are never loaded
    for dtype, bytes_per_weight in ((torch.float32, 4), (torch.bfloat16, 2)):
        set_dtypes(model, dtype)
        estimate = estimate_memory(model, size, CPU)
        assert estimate.weights == pytest.approx(2.616e9 * bytes_per_weight, rel=0.01)
        assert estimate.decoding > estimate.encoding > estimate.sampling


def test_estimated_weights_are_what_is_loaded(checkpoint: Path) -> None:
    pipeline = load_released(checkpoint)
    assert pipeline.memory.weights == sum(p.numel() * p.element_size() for p in pipeline.tokenizer.parameters())


def test_what_does_not_fit_is_refused_with_numbers(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1 << 20)
    with pytest.raises(
        InsufficientMemoryError, match=r"needs 0\.0\d GiB .* cpu has 0\.00 GiB free; dtype=torch\.bfloat16"
    ):
        load_released(checkpoint)


def test_the_estimate_is_shown_before_loading(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="flextok.released.load"):
        load_released(checkpoint)
    assert "GiB of weights" in caplog.text


def test_leftovers_of_a_compiled_vae_in_names_are_accepted(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    renamed = {name.replace("vidtok.decoder.", "vidtok.decoder._orig_mod."): tensor for name, tensor in weights.items()}
    assert renamed.keys() != weights.keys()
    save_file(renamed, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    assert torch.equal(decoded(load_released(tmp_path)), decoded(load_released(checkpoint)))


# --- precision and placement ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_and_keeps_small_weights_in_float32(checkpoint: Path, dtype: torch.dtype) -> None:
    full, half = load_released(checkpoint), load_released(checkpoint, dtype=dtype)
    assert half.tokenizer.vidtok.dtype == dtype
    assert half.tokenizer.get_parameter("decoder.module_dict.from_codes.proj.weight").dtype == torch.float32
    with torch.no_grad():
        ours, exact = half.tokenizer.vidtok.encode(clip()).mean, full.tokenizer.vidtok.encode(clip()).mean
    assert ours.dtype == torch.float32
    assert (ours - exact).std() < 0.04 * exact.std()  # measured: 0.02 for bfloat16, 0.002 for float16
    assert decoded(half, guidance_scale=2.0, apg=None).isfinite().all()


def test_other_dtypes_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        load_released(checkpoint, dtype=torch.int8)


@pytest.mark.parametrize(
    "device_map",
    ["auto", {"": "cpu"}, {"vae": "disk", "encoder": "cpu", "decoder": "disk"}],
    ids=["auto", "cpu", "disk"],
)
def test_dispatched_models_give_the_same(checkpoint: Path, device_map: Any) -> None:
    whole, spread = (
        load_released(checkpoint, device="cpu"),
        load_released(checkpoint, device="cpu", device_map=device_map),
    )
    assert torch.equal(whole.tokenize(clip()), spread.tokenize(clip()))
    torch.testing.assert_close(decoded(whole), decoded(spread), atol=1e-5, rtol=0)


def test_maps_that_leave_modules_out_are_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say where vae"):
        load_released(checkpoint, device="cpu", device_map={"encoder": "cpu", "decoder": "cpu"})
    with pytest.raises(CheckpointError, match="'everywhere'"):
        load_released(checkpoint, device="cpu", device_map="everywhere")


# --- the Hub ----------------------------------------------------------------------------------------------

REPO = "EPFL-VILAB/videoflextok_d18_d28"


def response(status: int) -> Any:
    return SimpleNamespace(status_code=status, headers={}, request=None, url="")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (hub_errors.GatedRepoError("x", response=response(403)), "is gated: accept its terms"),
        (hub_errors.RepositoryNotFoundError("x", response=response(404)), "does not exist on the Hub"),
        (hub_errors.RevisionNotFoundError("x", response=response(404)), "has no revision 'abc'"),
        (hub_errors.RemoteEntryNotFoundError("x", response=response(404)), "holds no config.json"),
        (hub_errors.LocalEntryNotFoundError("x"), r"cannot be reached \(offline\)"),
        (OSError("disk full"), "could not be downloaded: disk full"),
    ],
)
def test_every_failure_of_the_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    asked: list[Any] = []

    def fail(repo: str, name: str, revision: str | None) -> str:
        asked.append((repo, name, revision))
        raise error

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_released(REPO, revision="abc")
    assert asked == [(REPO, "config.json", "abc")]
    assert "\n" not in str(caught.value)


def test_offline_machines_are_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real client, with its network switched off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="cannot be reached"):
        load_released(REPO)


def test_repository_names_are_no_paths(tmp_path: Path) -> None:
    assert hub.is_repo_id("owner/name")
    assert not hub.is_repo_id(str(tmp_path))
    assert not hub.is_repo_id("../owner/name")
    with pytest.raises(CheckpointError, match="does not exist"):
        load_released(tmp_path / "absent")


# --- our own format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_models_give_the_same_to_the_bit(checkpoint: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    converted = load_released(checkpoint, dtype=dtype)
    converted.save_pretrained(tmp_path / "own")
    again = load_released(tmp_path / "own")
    assert again.tokenizer.vidtok.dtype == dtype
    assert again.info.num_registers == converted.info.num_registers
    assert torch.equal(again.tokenize(clip(33)), converted.tokenize(clip(33)))
    assert torch.equal(decoded(again), decoded(converted))
    with safe_open(tmp_path / "own" / "model.safetensors", "pt") as file:
        assert all(name.startswith(("vae.", "encoder.", "decoder.")) for name in file.keys())  # noqa: SIM118


def test_saving_keeps_the_order_of_modules(cases: Path, tmp_path: Path) -> None:
    load_released(cases / "case_a").save_pretrained(tmp_path)
    before = json.loads((cases / "case_a" / "config.json").read_text())["video_flex_tok"]["decoder"]["module_dict"]
    after = json.loads((tmp_path / "config.json").read_text())["video_flex_tok"]["decoder"]["module_dict"]
    assert list(after) == list(before)
    assert list(before) != sorted(before)


def test_released_checkpoints_are_told_from_saved_pipelines(checkpoint: Path, tmp_path: Path) -> None:
    assert is_released(checkpoint)
    assert is_released(checkpoint / "model.safetensors")
    assert not is_released(tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model_index.json").touch()
    assert not is_released(tmp_path)


def test_sorted_modules_are_refused_by_name(cases: Path, tmp_path: Path) -> None:
    """What the reference's own save_pretrained does to a config."""
    config = json.loads((cases / "case_a" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config, sort_keys=True))
    (tmp_path / "model.safetensors").symlink_to(cases / "case_a" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"module '\w+' reads '\w+', which nothing before it has written"):
        open_checkpoint(tmp_path)


def test_saving_overwrites_nothing_foreign(checkpoint: Path, tmp_path: Path) -> None:
    pipeline = load_released(checkpoint)
    with pytest.raises(ValueError, match="another format"):
        pipeline.save_pretrained(checkpoint)
    pipeline.save_pretrained(tmp_path)
    pipeline.save_pretrained(tmp_path)
    offloaded = load_released(checkpoint, device="cpu", device_map={"vae": "disk", "encoder": "cpu", "decoder": "cpu"})
    with pytest.raises(ValueError, match="offloaded"):
        offloaded.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"version": 2}))
    with pytest.raises(CheckpointError, match="version 2"):
        load_released(tmp_path)
