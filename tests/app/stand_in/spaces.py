"""A stand-in for the `spaces` package of ZeroGPU Spaces, with its rules and no GPU.

What it repeats of spaces 0.51: it must be imported before CUDA is in use; afterwards anything that would start CUDA in
the page's process fails; a decorated generator runs in a forked process, its arguments and results are pickled, what
it changes there is lost, and errors other than gr.Error lose their message. What it does harder: the declared duration
is enforced to the second. Every run is written to the file that STAND_IN_LOG names.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

if "torch" in sys.modules:
    raise RuntimeError("`spaces` was imported after PyTorch")

MAX_DURATION_S = 120
context = multiprocessing.get_context("fork")


def GPU(duration: Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
        assert inspect.isgeneratorfunction(task), "only generators can be stopped"
        assert getattr(sys.modules[task.__module__], task.__name__, None) is None, "must stand at module level"
        assert "<locals>" not in task.__qualname__

        def handler(*args: Any, **kwargs: Any) -> Iterator[Any]:
            seconds = duration(*args, **kwargs)
            assert isinstance(seconds, int)
            assert 0 < seconds <= MAX_DURATION_S, "ZeroGPU illegal duration"
            yield from _run(task, seconds, pickle.dumps((args, kwargs)))

        return handler

    return decorate


def _run(task: Callable[..., Any], seconds: int, order: bytes) -> Iterator[Any]:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, order, theirs), daemon=True)
    process.start()
    theirs.close()
    deadline = time.monotonic() + seconds
    results = 0
    try:
        while True:
            if not ours.poll(max(deadline - time.monotonic(), 0)):
                raise gr.Error("GPU task aborted", title="ZeroGPU worker error")
            kind, value = pickle.loads(ours.recv_bytes())
            if kind == "error":
                raise value if isinstance(value, gr.Error) else gr.Error(type(value).__name__)
            if kind == "end":
                return
            results += 1
            yield value
    finally:
        process.terminate()
        process.join()
        with open(os.environ["STAND_IN_LOG"], "a", encoding="utf-8") as log:
            run = {"name": task.__name__, "declared_s": seconds, "results": results, "pid": process.pid}
            log.write(json.dumps(run) + "\n")


def _work(task: Callable[..., Any], order: bytes, pipe: Any) -> None:
    args, kwargs = pickle.loads(order)
    try:
        for value in task(*args, **kwargs):
            pipe.send_bytes(pickle.dumps(("value", value)))
    except Exception as error:  # noqa: BLE001  # as the real one: whatever it is goes to the parent
        pipe.send_bytes(pickle.dumps(("error", error)))
    else:
        pipe.send_bytes(pickle.dumps(("end", None)))
    time.sleep(60)  # until the parent ends it


class _Guard:
    """Fails what would start CUDA in the page's process, once PyTorch is there."""

    def find_spec(self, name: str, *_: Any) -> None:
        torch = sys.modules.get("torch")
        if name.startswith("flextok.") and torch is not None and hasattr(torch, "cuda") and hasattr(torch, "_C"):
            torch.cuda.mem_get_info = _no_cuda
            torch._C._cuda_init = _no_cuda


def _no_cuda(*_: Any) -> None:
    raise RuntimeError("Low-level CUDA init reached in the main process")


sys.meta_path.insert(0, _Guard())
