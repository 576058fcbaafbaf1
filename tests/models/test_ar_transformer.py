"""The autoregressive model and drawing from it: causality, cache, batches, guidance, forced frames."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flextok.models.ar_transformer import ARCondition, ARTransformer
from flextok.models.layers.ar_layer import ARLayer, rotary_tables, rotate
from flextok.pipelines.token_sampling import SamplingSettings, draw, restrict, stream_tokens

WORDS = ("a", "ball", "red", "rolls")


@pytest.fixture(scope="module", params=["time_first", "raster"])
def model(request: pytest.FixtureRequest) -> ARTransformer:
    torch.manual_seed(0)
    model = ARTransformer(
        request.param, 3, 4, levels=(3, 2), classes=("x", "y"), words=WORDS, dim=32, depth=2, head_dim=16, text_depth=1
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def _condition(model: ARTransformer, classes: Sequence[int], texts: Sequence[str]) -> ARCondition:
    return model.condition(torch.tensor(classes), model.word_tokenizer.encode(texts))


def _sample(
    model: ARTransformer, classes: Sequence[int], texts: Sequence[str], seeds: Sequence[int], **options: object
) -> Tensor:
    known = options.pop("known", None)
    settings = SamplingSettings(**options)  # type: ignore[arg-type]
    none = _condition(model, [-1] * len(classes), [""] * len(classes))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    stream = stream_tokens(model, _condition(model, classes, texts), none, 12, settings, generators, known)  # type: ignore[arg-type]
    return list(stream)[-1]


@torch.no_grad()
def test_a_token_depends_on_earlier_ones_alone(model: ARTransformer) -> None:
    sequence = torch.randint(6, (2, 11))
    other = sequence.clone()
    other[:, 6] = (other[:, 6] + 1) % 6
    condition = _condition(model, [0, -1], ["", "a red ball rolls"])
    before, after = model(sequence, condition), model(other, condition)
    assert before.shape == (2, 12, 6)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(dim=(0, 2)).min() > 1e-5


@torch.no_grad()
def test_a_prepared_layer_is_the_textbook_one() -> None:
    """Norms with their gains, attention with queries and keys, and a gated MLP, as the parameters' names say."""
    torch.manual_seed(0)
    layer, heads = ARLayer(32, 16, 0.1).eval(), 2
    for norm in (layer.norm1, layer.norm2, layer.norm3):
        norm.weight.copy_(torch.rand(32) + 0.5)
    x, text = 3 * torch.randn(2, 5, 32), torch.randn(2, 4, 32)
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    rotation = rotary_tables(5, 16, x.device)

    def split(y: Tensor) -> Tensor:
        return y.unflatten(-1, (heads, 16)).transpose(1, 2)

    q, k, v = (split(y) for y in layer.attn.qkv(layer.norm1(x)).chunk(3, dim=-1))
    y = F.scaled_dot_product_attention(rotate(q, rotation), rotate(k, rotation), v, is_causal=True)
    expected = x + layer.attn.proj(y.transpose(1, 2).flatten(2))
    k, v = (split(y) for y in layer.cross.kv(text).chunk(2, dim=-1))
    q = split(layer.cross.q(layer.norm2(expected)))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
    expected = expected + layer.cross.proj(y.transpose(1, 2).flatten(2))
    expected = expected + layer.mlp(layer.norm3(expected))

    mask = torch.zeros(real.shape).masked_fill(~real, float("-inf"))[:, None, None]
    torch.testing.assert_close(layer(x, rotation, mask, layer.prepare(text), None, 0), expected)


@torch.no_grad()
@pytest.mark.parametrize("step", [1, 3])
def test_cached_is_uncached(model: ARTransformer, step: int) -> None:
    sequence = torch.randint(6, (2, 11))
    condition = _condition(model, [1, 0], ["red", "a ball"])
    cache, parts = model.new_cache(2, 12), []
    for start in range(0, 12, step):  # the start token, then the tokens
        parts.append(model(sequence[:, max(start - 1, 0) : start - 1 + step], condition, cache))
    torch.testing.assert_close(torch.cat(parts, dim=1), model(sequence, condition), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="12 tokens"):
        model(sequence[:, :1], condition, cache)


@torch.no_grad()
def test_class_and_text_matter_and_padding_does_not(model: ARTransformer) -> None:
    sequence = torch.randint(6, (1, 5))
    outputs = [
        model(sequence, _condition(model, [c], [text]))
        for c, text in ((-1, ""), (0, ""), (1, ""), (-1, "red"), (-1, "a red ball"))
    ]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(outputs) for b in outputs[:i])
    beside_a_long_one = model(sequence.expand(2, -1), _condition(model, [-1, -1], ["red", "a red ball rolls"]))[:1]
    torch.testing.assert_close(beside_a_long_one, outputs[3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_batched_is_one_by_one_and_seeds_decide(model: ARTransformer, guidance: float) -> None:
    options = {"guidance_scale": guidance, "top_k": 5}
    both = _sample(model, [0, -1], ["", "a red ball rolls"], [1, 2], **options)
    assert torch.equal(both[:1], _sample(model, [0], [""], [1], **options))
    assert torch.equal(both[1:], _sample(model, [-1], ["a red ball rolls"], [2], **options))
    assert not torch.equal(both[:1], _sample(model, [0], [""], [3], **options))


def test_guidance_leads_towards_the_condition(model: ARTransformer) -> None:
    """With a huge scale the token is the one whose logit the condition raises most."""
    with torch.no_grad():
        told = model(torch.zeros(1, 0, dtype=torch.int64), _condition(model, [1], [""]))
        plain = model(torch.zeros(1, 0, dtype=torch.int64), _condition(model, [-1], [""]))
    drawn = _sample(model, [1], [""], [0], guidance_scale=100.0, temperature=0.0)
    assert drawn[0, 0] == (told - plain)[0, 0].argmax()


def test_known_frames_are_kept_and_seen(model: ARTransformer) -> None:
    order, seeds, samples = model.token_order, list(range(20)), []
    for value in (1, 4):
        known = torch.full((20, 1, 4), value)
        samples.append(order.unflatten(_sample(model, [0] * 20, [""] * 20, seeds, known=known)))
        assert (samples[-1][:, 0] == value).all()
    assert not torch.equal(samples[0][:, 1:], samples[1][:, 1:])


def test_every_prefix_is_the_start_of_the_whole(model: ARTransformer) -> None:
    condition, none = _condition(model, [0], [""]), _condition(model, [-1], [""])
    short = list(stream_tokens(model, condition, none, 5, SamplingSettings(), [torch.Generator().manual_seed(7)]))
    whole = _sample(model, [0], [""], [7])
    assert [x.shape[1] for x in short] == [1, 2, 3, 4, 5]
    assert torch.equal(short[-1], whole[:, :5])


def test_restrict_keeps_the_most_probable() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    assert restrict(logits, top_k=2).isfinite().tolist() == [[True, True, False, False]]
    assert restrict(logits, top_p=0.7).isfinite().tolist() == [[True, True, False, False]]
    assert restrict(logits, top_p=0.01).isfinite().tolist() == [[True, False, False, False]]
    assert torch.equal(restrict(logits), logits)


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1]]).log().expand(4000, -1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    shares = draw(logits, SamplingSettings(), generators).bincount(minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), atol=0.03, rtol=0)
    cold = draw(logits, SamplingSettings(temperature=0.3), generators).bincount(minlength=3) / 4000
    assert cold[0] > 0.85


@pytest.mark.parametrize(
    "wrong", [{"guidance_scale": -1.0}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SamplingSettings(**wrong)  # type: ignore[arg-type]


def test_unknown_classes_and_long_texts_are_refused(model: ARTransformer) -> None:
    for classes, texts in (([2], [""]), ([-2], [""]), ([0], ["a " * 49])):
        with pytest.raises(ValueError, match=r"class ids|words"):
            model.condition(torch.tensor(classes), model.word_tokenizer.encode(texts, max_words=100))
