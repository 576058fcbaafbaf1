"""The released 3D-grid baseline: diffusers' VidTok of the same weights, files of the original's form, refusals."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderVidTok
from torch import Tensor

from flextok.api import load_tokenizer
from flextok.loading.errors import CheckpointError
from flextok.released.vae import VAESize, VidTok
from flextok.released.vidtok_grid import load_vidtok_grid

CHANNELS, PIXELS = 32, 32


@pytest.fixture(scope="module")
def theirs() -> AutoencoderVidTok:
    torch.manual_seed(0)
    model = AutoencoderVidTok(ch=CHANNELS, z_channels=6, double_z=False, regularizer="fsq", num_res_blocks=1)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


def write(model: torch.nn.Module, path: Path, **more: Any) -> Path:
    """As Lightning writes it: weights of encoder, decoder and of the losses of training."""
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("regularization")}
    torch.save({"epoch": 3, "state_dict": {**weights, "loss.logvar": torch.zeros(()), **more}}, path)
    return path


@pytest.fixture(scope="module")
def file(theirs: AutoencoderVidTok, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(theirs, tmp_path_factory.mktemp("vidtok") / "vidtok_fsq_v1_1.ckpt")


def clip(frames: int = 17) -> Tensor:
    return torch.rand(1, 3, frames, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 17])
def test_edition_1_1_is_that_of_diffusers(theirs: AutoencoderVidTok, file: Path, frames: int) -> None:
    video = clip(frames)
    padded = torch.cat([video[:, :, :1].expand(-1, -1, 3, -1, -1), video], dim=2)
    _, expected = theirs.encode(padded)  # (b, t, h, w)
    pipe = load_vidtok_grid(file, PIXELS, 8.0)
    ids = pipe.tokenize(video)
    assert torch.equal(ids, expected.flatten(2).long())
    codes = pipe.quantizer.ids_to_codes(ids).unflatten(2, (4, 4)).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(pipe.detokenize(ids).frames, theirs.decode(codes), atol=2e-5, rtol=0)


@torch.no_grad()
def test_edition_1_0_differs_in_what_stands_before_the_first_frame(theirs: AutoencoderVidTok) -> None:
    sizes = {"channels": CHANNELS, "num_res_blocks": 1, "latent_channels": 6, "has_variance": False}
    old, new = (VidTok(VAESize(**sizes, edition=edition)).eval() for edition in ("1.0", "1.1"))  # type: ignore[arg-type]
    weights = {key: value for key, value in theirs.state_dict().items() if not key.startswith("regularization")}
    for model in (old, new):
        model.load_state_dict(weights)
    assert not torch.equal(old.encode(clip()).mean, new.encode(clip()).mean)
    # Far from the beginning a clip that does not move is the same to both.
    still = clip(1).expand(-1, -1, 81, -1, -1)
    torch.testing.assert_close(old.encode(still).mean[:, :, -1], new.encode(still).mean[:, :, -1], atol=1e-4, rtol=0)


def test_it_keeps_the_contract_of_tokenizers(theirs: AutoencoderVidTok, tmp_path: Path) -> None:
    pipe = load_vidtok_grid(write(theirs, tmp_path / "vidtok_fsq.ckpt"), PIXELS, 8.0)
    info = pipe.info
    assert (info.kind, info.num_registers, info.token_budgets, info.num_ids) == ("grid", 16, (16,), 8**6)
    assert (info.height, info.chunk_frames, info.fps) == (PIXELS, 17, 8.0)
    ids = pipe.tokenize(clip(33))
    assert ids.shape == (1, 9, 16)
    assert pipe.detokenize(ids).frames.shape == (1, 3, 33, PIXELS, PIXELS)
    first = pipe.detokenize(ids[:, :2]).frames  # fewer tokens are fewer frames
    torch.testing.assert_close(first, pipe.detokenize(ids[:, :5]).frames[:, :, :5], atol=1e-5, rtol=0)
    assert [chunk.shape[2] for chunk in pipe.stream(ids)] == [17, 16]
    for refused, says in (({"keep_k": 4}, "no order"), ({"guidance_scale": 2.0}, "no null token")):
        with pytest.raises(ValueError, match=says):
            pipe.detokenize(ids, **refused)
    with pytest.raises(ValueError, match="all needed"):
        pipe.tokenize(clip(), keep_k=4)


def test_a_file_is_loaded_by_its_path(file: Path, tmp_path: Path) -> None:
    assert load_tokenizer(f"{file}@64").info.height == 64
    assert load_tokenizer(file).info.height == 256
    with pytest.raises(ValueError, match="multiple of 8"):
        load_tokenizer(f"{file}@100")
    with pytest.raises(ValueError, match="in pixels"):
        load_tokenizer(f"{file}@small")
    other = tmp_path / "a@b" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    assert load_tokenizer(other).info.height == 256


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_files_that_run_code_or_are_no_vidtok_are_refused(
    theirs: AutoencoderVidTok, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = {name: tmp_path / f"{name}.ckpt" for name in ("hostile", "plain", "cut", "extra", "empty", "kl", "text")}
    torch.save({"state_dict": {"a": _Hostile()}}, bad["hostile"])
    bad["plain"].write_bytes(pickle.dumps(_Hostile()))
    write(theirs, bad["cut"])
    bad["cut"].write_bytes(bad["cut"].read_bytes()[:-5000])
    write(theirs, bad["extra"], surprise=torch.zeros(3))
    torch.save({"state_dict": {}}, bad["empty"])
    torch.save(VidTok(VAESize(32, 1)).state_dict(), bad["kl"])
    bad["text"].write_text("no weights")
    for path in bad.values():
        with pytest.raises(CheckpointError) as caught:
            load_tokenizer(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
