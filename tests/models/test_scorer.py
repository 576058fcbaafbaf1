"""The scorer's towers at tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flextok.loading.checkpoint import load_strict
from flextok.models.scorer import ToyboxScorer
from flextok.models.word_tokenizer import WordTokenizer

CLASSES = (("color", ("red", "green", "blue", "white")), ("action", ("rolls", "drops", "spins")))


@pytest.fixture
def tiny() -> ToyboxScorer:
    torch.manual_seed(0)
    return ToyboxScorer(CLASSES, 7, (8, 8, 32), (1, 1), 1, 2, 16, 8, 32, 1).eval()


@torch.no_grad()
def test_clips_of_a_batch_do_not_touch(tiny: ToyboxScorer, generator: torch.Generator) -> None:
    video = torch.rand(3, 3, 17, 64, 64, generator=generator) * 2 - 1
    out = tiny(video)
    assert {name: logits.shape for name, logits in out.logits.items()} == {"color": (3, 4), "action": (3, 3)}
    torch.testing.assert_close(out.embedding.norm(dim=1), torch.ones(3))
    alone = tiny(video[1:2])
    torch.testing.assert_close(alone.features, out.features[1:2], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_frame_and_every_place_counts(tiny: ToyboxScorer, generator: torch.Generator) -> None:
    video = torch.rand(1, 3, 17, 64, 64, generator=generator) * 2 - 1
    before = tiny(video).features
    for frame, row in ((0, 3), (5, 40), (16, 63)):
        other = video.clone()
        other[:, :, frame, row] *= -1
        assert not torch.allclose(tiny(other).features, before, atol=1e-6)


@torch.no_grad()
def test_padding_does_not_change_a_text(tiny: ToyboxScorer) -> None:
    alone = tiny.embed_text(torch.tensor([[2, 5, 3]]))
    padded = tiny.embed_text(torch.tensor([[2, 5, 3, 0, 0], [4, 4, 4, 4, 4]]))
    torch.testing.assert_close(padded[:1], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(tiny.embed_text(torch.tensor([[5, 2, 3]])), alone, atol=1e-4)
    assert tiny.embed_text(torch.zeros(1, 2, dtype=torch.int64)).isfinite().all()


@torch.no_grad()
def test_what_is_saved_reads_as_before(tiny: ToyboxScorer, tmp_path: Path, generator: torch.Generator) -> None:
    video = torch.rand(8, 3, 17, 64, 64, generator=generator) * 2 - 1
    before = tiny(video)
    tiny.save_pretrained(tmp_path)
    after = load_strict(ToyboxScorer, tmp_path)(video)
    for name, _ in CLASSES:  # not in the order of the alphabet, in which a config's JSON is written
        assert after.read(name).tolist() == before.read(name).tolist()
        torch.testing.assert_close(after.logits[name], before.logits[name])


def test_other_shapes_are_refused(tiny: ToyboxScorer) -> None:
    with pytest.raises(ValueError, match="17, 64, 64"):
        tiny(torch.zeros(1, 3, 9, 64, 64))


def test_words_and_ids() -> None:
    tokenizer = WordTokenizer.from_words(["ball", "red", "a", ",", "then"])
    assert tokenizer.encode(["A red ball, then", "a"]).tolist() == [[3, 5, 4, 2, 6], [3, 0, 0, 0, 0]]
    assert tokenizer.encode(["a red ball"], max_words=2).tolist() == [[3, 5]]
    assert tokenizer.encode(["", ""]).tolist() == [[0], [0]]
    assert tokenizer.encode(["a Green ball"]).tolist() == [[3, 1, 4]]
    assert tokenizer.unknown_words("a Green ball; a green one") == ["Green", ";", "green", "one"]
