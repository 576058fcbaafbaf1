"""Register and grid tokenizers: causality in time, nesting in the registers, the paper's mask."""

from __future__ import annotations

import pytest
import torch

from flextok.models.flow_decoder import TokenCondition
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.layers.attention_masks import register_mask, time_causal_mask
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.training.fit_codec import fit_codec

SIZES = {"latent_channels": 4, "latent_size": (3, 4, 4), "levels": (5, 4), "dim": 32, "head_dim": 16}
DEPTH = {"encoder_depth": 2, "decoder_depth": 2}


@pytest.fixture(scope="module")
def register() -> RegisterTokenizer:
    torch.manual_seed(0)
    model = RegisterTokenizer(**SIZES, **DEPTH, num_registers=6)
    fit_codec(model, torch.randn(64, 4, 3, 4, 4), torch.eye(4))
    return _perturbed(model)


@pytest.fixture(scope="module")
def grid() -> GridTokenizer:
    torch.manual_seed(0)
    return _perturbed(GridTokenizer(**SIZES, **DEPTH))


def _perturbed(model: torch.nn.Module) -> torch.nn.Module:
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    return model.eval()


def _latents(b: int = 2) -> torch.Tensor:
    return torch.randn(b, 4, 3, 4, 4, generator=torch.Generator().manual_seed(3))


def test_masks_by_hand() -> None:
    assert time_causal_mask(2, 1).tolist() == [[True, False], [True, True]]
    # One frame of two patches and two registers: patches see patches, register i sees patches and registers <= i.
    assert register_mask(1, 2, 2).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    two = register_mask(2, 1, 2)
    assert two[3:, :3].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]  # the same rule towards the earlier frame
    assert not two[:3, 3:].any()


@pytest.mark.parametrize("which", ["register", "grid"])
@pytest.mark.parametrize("frame", [1, 2])
def test_later_frames_never_change_earlier_tokens(which: str, frame: int, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    latents = _latents()
    other = latents.clone()
    other[:, :, frame:] += 1.0
    before, after = model.encode(latents).codes, model.encode(other).codes
    assert torch.equal(before[:, :frame], after[:, :frame])
    assert not torch.equal(before[:, frame:], after[:, frame:])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_prefix_of_registers_needs_no_later_register(register: RegisterTokenizer, k: int) -> None:
    whole, prefix = register.encode(_latents()).token_ids, register.encode(_latents(), k).token_ids
    assert torch.equal(whole[:, :, :k], prefix)


@pytest.mark.parametrize("which", ["register", "grid"])
def test_time_causal_decoder(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    ids = model.encode(_latents()).token_ids
    changed = ids.clone()
    changed[:, 2] = (changed[:, 2] + 1) % model.quantizer.num_ids
    sigma = torch.full((2,), 0.7)
    before = model(_latents(), sigma, model.condition(ids))
    after = model(_latents(), sigma, model.condition(changed))
    torch.testing.assert_close(before[:, :, :2], after[:, :, :2])
    assert (before[:, :, 2] - after[:, :, 2]).abs().max() > 1e-4


@pytest.mark.parametrize("which", ["register", "grid"])
def test_ids_and_codes_condition_alike_and_every_budget_matters(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which)
    sigma, outputs = torch.full((2,), 1.0), []
    for k in (1, 4) if which == "register" else (1, 4, 16):
        encoded = model.encode(_latents(), k)
        by_ids = model(_latents(), sigma, model.condition(encoded.token_ids))
        torch.testing.assert_close(by_ids, model(_latents(), sigma, model.condition_on_codes(encoded.codes)))
        outputs.append(by_ids)
    outputs.append(model(_latents(), sigma, TokenCondition()))
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(outputs) for b in outputs[:i])


def test_full_attention_looks_ahead() -> None:
    torch.manual_seed(0)
    model = _perturbed(RegisterTokenizer(**SIZES, **DEPTH, num_registers=2, decoder_attention="full"))
    ids = model.encode(_latents()).token_ids
    changed = ids.clone()
    changed[:, 2] = (changed[:, 2] + 1) % model.quantizer.num_ids
    sigma = torch.ones(2)
    difference = model(_latents(), sigma, model.condition(ids)) - model(_latents(), sigma, model.condition(changed))
    assert difference[:, :, 0].abs().max() > 1e-5


def test_given_frames_are_marked_and_left_alone(register: RegisterTokenizer) -> None:
    condition, sigma = register.condition(register.encode(_latents()).token_ids), torch.full((2,), 0.5)
    with torch.no_grad():
        register.decoder.given.normal_()
    velocity = register(_latents(), sigma, condition, 1)
    assert velocity[:, :, 0].abs().max() == 0
    assert not torch.allclose(velocity[:, :, 1:], register(_latents(), sigma, condition)[:, :, 1:])


def test_code_norm_learns_statistics_in_training_alone(register: RegisterTokenizer) -> None:
    before = register.code_norm.mean.clone()
    register.encode(_latents())
    assert torch.equal(before, register.code_norm.mean)
    register.train()
    register.quantized_codes(_latents(), 2)
    register.eval()
    assert not torch.equal(before[:2], register.code_norm.mean[:2])
    assert torch.equal(before[2:], register.code_norm.mean[2:])


def test_budgets_outside_are_refused(register: RegisterTokenizer, grid: GridTokenizer) -> None:
    ids = register.encode(_latents()).token_ids
    for call in (
        lambda: register.encode(_latents(), 7),
        lambda: register.encode(_latents(), 0),
        lambda: register.prefix(ids, 0),
        lambda: register.prefix(ids, 7),
        lambda: register.condition(torch.cat([ids, ids], dim=2)),
        lambda: register.condition(ids + 100),
        lambda: grid.encode(_latents(), 3),
        lambda: grid.prefix(grid.encode(_latents()).token_ids, 4),
    ):
        with pytest.raises(ValueError, match=r"keep_k|tokens per latent frame|token ids"):
            call()


@pytest.mark.parametrize("cls", [RegisterTokenizer, GridTokenizer])
@pytest.mark.parametrize("wrong", [{"dim": 30}, {"patch": 3}, {"decoder_attention": "sideways"}, {"levels": (1, 2)}])
def test_impossible_configs_are_refused(cls: type, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        cls(**{**SIZES, **DEPTH, **wrong})


def test_a_summary_tells_every_frame_what_free_registers_say() -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, **DEPTH, "num_registers": 6, "num_free_registers": 2}
    model = _perturbed(RegisterTokenizer(**sizes, clip_summary=True))
    ids, sigma = model.encode(_latents()).token_ids, torch.full((2,), 0.5)

    def velocity(of: torch.Tensor) -> torch.Tensor:
        return model(_latents()[:, :, : of.shape[1]], sigma, model.condition(of))

    free, other = ids.clone(), ids.clone()
    free[:, 2, 1] = (free[:, 2, 1] + 7) % 20
    other[:, 2, 3] = (other[:, 2, 3] + 7) % 20
    before = velocity(ids)[:, :, 0]
    assert not torch.equal(before, velocity(free)[:, :, 0])  # the decoder's attention alone is causal here
    assert torch.equal(before, velocity(other)[:, :, 0])
    for shorter in (ids[:, :2], ids[:, :, :1]):
        assert velocity(shorter).isfinite().all()
