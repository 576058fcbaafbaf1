"""The scorer that ships: what its card promises, on 64 test clips, within the noise of so few."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flextok.loading.errors import CheckpointError
from flextok.loading.registry import ASSETS
from flextok.metrics import (
    Scorer,
    attribute_accuracy,
    class_score,
    load_scorer,
    scorer_distance,
    strict_text_match,
    temporal_consistency,
    text_match,
)
from flextok.metrics.consistency import windows
from flextok.toybox.actions import ACTIONS
from flextok.toybox.caption import caption, vocabulary
from flextok.toybox.labels import CLASS_NAMES, labels_of_seeds
from flextok.toybox.sampling import TEST_SEEDS, sample_spec
from flextok.training.degradations import blur

SPECS = [sample_spec(seed) for seed in TEST_SEEDS[:64]]
MARGIN = 0.12
"""Two standard errors of an accuracy of 0.7 on 64 clips."""


def test_the_measured_accuracy_is_what_the_weights_have(scorer: Scorer, test_clips: Tensor) -> None:
    report = json.loads((ASSETS / "results" / "scorer.json").read_text())
    accuracy = attribute_accuracy(scorer, test_clips, labels_of_seeds(TEST_SEEDS[:64]))
    for name, value in accuracy.items():
        assert value > report["test"]["accuracy"][name] - MARGIN, name
    for name, metric in (("text_match", text_match), ("strict_text_match", strict_text_match)):
        assert metric(scorer, test_clips, SPECS) > report["test"][name] - MARGIN, name


def test_class_score_is_of_the_asked_action(scorer: Scorer, test_clips: Tensor) -> None:
    asked = [spec.actions[0] for spec in SPECS]
    others = [ACTIONS[(ACTIONS.index(action) + 1) % len(ACTIONS)] for action in asked]
    assert class_score(scorer, test_clips, asked) > 0.7
    assert class_score(scorer, test_clips, others) < 0.15
    with pytest.raises(ValueError, match="as many actions"):
        class_score(scorer, test_clips, asked[:3])


def test_text_match_needs_the_right_clip(scorer: Scorer, test_clips: Tensor) -> None:
    """Given another clip, the caption is found about as rarely as by chance; other wordings are understood too."""
    assert text_match(scorer, test_clips.roll(1, 0), SPECS) < 0.25
    assert text_match(scorer, test_clips, SPECS, variant=5) > text_match(scorer, test_clips.roll(1, 0), SPECS) + 0.3


def test_retrieval_among_all_captions(scorer: Scorer, test_clips: Tensor) -> None:
    texts = scorer.embed_text([caption(spec) for spec in SPECS])
    similarity = scorer.score(test_clips).embedding @ texts.T
    assert (similarity.argmax(1) == torch.arange(len(SPECS))).float().mean() > 0.8


def test_unknown_words_are_named(scorer: Scorer) -> None:
    assert scorer.unknown_words("A small Elephant rolls left, past a zebra and an elephant") == [
        "Elephant",
        "zebra",
        "elephant",
    ]
    for index, spec in enumerate(SPECS):
        assert scorer.unknown_words(caption(spec, index)) == []
    for word in vocabulary():
        assert scorer.unknown_words(word) == []


def test_scorer_distance_grows_with_corruption(scorer: Scorer, test_clips: Tensor) -> None:
    clips = test_clips[:12]
    values = [
        scorer_distance(scorer, torch.stack([blur(clip, scale) for clip in clips]), clips) for scale in (0.5, 0.25)
    ]
    assert scorer_distance(scorer, clips, clips).abs().max() < 1e-6
    assert (values[0] > 0).all()
    assert (values[1] > values[0]).all()
    assert (scorer_distance(scorer, clips.roll(1, 0), clips) > values[0]).all()


def test_consistency_notices_another_subject(scorer: Scorer, test_clips: Tensor) -> None:
    kept = temporal_consistency(scorer, test_clips[:32])
    changed = test_clips[:32].clone()
    changed[:, :, 9:] = test_clips[32:, :, 9:]
    swapped = temporal_consistency(scorer, changed)
    assert set(kept) == {"color", "shape"}
    assert kept["color"] > 0.8
    assert swapped["color"] < 0.4
    assert kept["shape"] > swapped["shape"] + 0.15


def test_consistency_of_long_videos_goes_by_chunks() -> None:
    video = torch.arange(49.0)[None, None, :, None, None].expand(2, 3, 49, 2, 2)
    parts = windows(video)
    assert parts.shape == (3, 2, 3, 17, 2, 2)
    assert parts[:, 0, 0, 0, 0, 0].tolist() == [0, 16, 32]
    halves = windows(video[:, :, :17])[:, 0, 0, :, 0, 0]
    assert halves[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    assert halves[1].tolist() == [8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16]
    with pytest.raises(ValueError, match="num_frames=20"):
        windows(video[:, :, :20])


def test_saved_and_loaded_it_says_the_same(scorer: Scorer, test_clips: Tensor, tmp_path: Path) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save(tmp_path)
    loaded = load_scorer(tmp_path)
    assert torch.equal(loaded(test_clips[:4]), scorer(test_clips[:4]))
    texts = [caption(spec) for spec in SPECS[:4]]
    assert torch.equal(loaded.embed_text(texts), scorer.embed_text(texts))


@pytest.mark.parametrize("damage", ["no tokenizer", "broken tokenizer", "other tokenizer", "cut weights", "other size"])
def test_damaged_files_are_refused(damage: str, scorer: Scorer, tmp_path: Path) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save(tmp_path)
    words, weights = tmp_path / "tokenizer.json", tmp_path / "diffusion_pytorch_model.safetensors"
    if damage == "no tokenizer":
        words.unlink()
    elif damage == "broken tokenizer":
        words.write_text("{")
    elif damage == "other tokenizer":
        words.write_text(words.read_text().replace("[UNK]", "unknown"))
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "feature_dim": 128}))
    with pytest.raises(CheckpointError):
        load_scorer(tmp_path)


def test_the_package_ships_small_and_fits_the_labels(scorer: Scorer) -> None:
    assert sum(path.stat().st_size for path in (ASSETS / "scorer").iterdir()) < 6 << 20
    assert scorer.model.classes == CLASS_NAMES
    assert np.prod(scorer(torch.zeros(1, 3, 17, 64, 64)).shape) == scorer.num_features
