"""Wrong captions: different from the right one and from each other, and false of the clip."""

from __future__ import annotations

import itertools

import pytest

from flextok.toybox.caption import caption, vocabulary
from flextok.toybox.distractors import distractors
from flextok.toybox.sampling import TEST_SEEDS, sample_spec


@pytest.mark.parametrize("variant", [0, 1, 7])
def test_distractors_differ_and_can_be_repeated(variant: int) -> None:
    for seed in TEST_SEEDS[:60]:
        spec = sample_spec(seed)
        wrong = distractors(spec, 15, variant, seed)
        assert len({caption(spec, variant), *wrong}) == 16
        assert wrong == distractors(spec, 15, variant, seed)
        assert wrong != distractors(spec, 15, variant, seed + 1)


def test_plain_distractors_are_false_in_one_word_group() -> None:
    """With the plainest wording, what differs from the right caption is one stretch of words."""
    for seed in TEST_SEEDS[:40]:
        right = caption(sample_spec(seed)).split()
        for text in distractors(sample_spec(seed), 15, 0, seed):
            wrong = text.split()
            head = sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], zip(right, wrong, strict=False)))
            tail = sum(
                1 for _ in itertools.takewhile(lambda p: p[0] == p[1], zip(right[::-1], wrong[::-1], strict=False))
            )
            # Up to 7 words of an action and "past" for "near"; a colour behind "a" or "an" counts as two.
            assert len(right) - head - tail <= 9, (right, wrong)
            assert head + tail >= 4, (right, wrong)


def test_no_wrong_color_is_in_the_picture() -> None:
    for seed in TEST_SEEDS[:60]:
        spec = sample_spec(seed)
        present = {obj.color for obj in spec.objects}
        for text in distractors(spec, 15, 0, seed):
            subject = text.split()[2]
            assert subject == spec.subject.color or subject not in present


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="count=500"):
        distractors(sample_spec(1), 500, 0)


def test_vocabulary_is_what_captions_use() -> None:
    used: set[str] = set()
    for seed in range(1500):
        used |= set(caption(sample_spec(seed, 1 + seed % 3), seed).replace(",", " , ").split())
    assert used == set(vocabulary())
