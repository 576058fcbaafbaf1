"""Entry point of the demo and of the Space: `python app.py`."""

from __future__ import annotations

import os

from app.memory import few_heaps
from app.runtime import ZERO_GPU  # first: on ZeroGPU this imports `spaces`, which must come before PyTorch
from app.service import VideoService
from app.ui import build_demo, launch_options, queue_options


def main() -> None:
    few_heaps()
    # Checkpoint folders of your own, offered beside the known models.
    local = os.environ.get("FLEXTOK_MODELS", "")
    service = VideoService([path for path in local.split(os.pathsep) if path])
    if ZERO_GPU:
        service.load_zero_gpu_models()
    service.load_in_background()
    demo = build_demo(service)
    demo.queue(**queue_options())
    demo.launch(**launch_options())


if __name__ == "__main__":
    main()
