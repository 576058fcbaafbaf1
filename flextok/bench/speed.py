"""Seconds of the embedded models on this machine: `python -m flextok.bench speed` writes assets/results/speed.json."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from flextok.bench import results
from flextok.data.datasets import ToyboxDataset
from flextok.toybox.sampling import TEST_SEEDS
from flextok.video.pixels import to_float

REPEATS = 7


def main(arguments: list[str] | None = None) -> None:
    if arguments:
        raise SystemExit("python -m flextok.bench speed takes no arguments")
    from flextok.api import load_embedded

    started = time.perf_counter()
    register = load_embedded("embedded")
    loading = time.perf_counter() - started
    grid = load_embedded("embedded-grid")
    video = to_float(ToyboxDataset(TEST_SEEDS)[0])
    ids, grid_ids = register.tokenize(video), grid.tokenize(video)
    report = {
        "load_embedded_s": loading,
        "tokenize_s": _median(lambda: register.tokenize(video)),
        "detokenize_s": {k: _median(partial(register.detokenize, ids, k)) for k in register.info.token_budgets},
        "grid_detokenize_s": _median(lambda: grid.detokenize(grid_ids)),
        "num_inference_steps": register.config.num_inference_steps,
        "repeats": REPEATS,
        "frames": video.shape[2],
    }
    print(f"written to {results.write('speed', report)}")
    for name, value in report.items():
        print(f"{name}: {value}")


def _median(call: Callable[[], torch.Tensor | object]) -> float:
    call()  # the first call allocates
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
