"""Can a model run on this machine, and if not, why not: asked before anything is loaded or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flextok.loading.registry import VIDTOK, ModelEntry, grid_entry


@dataclass(frozen=True)
class Availability:
    """Where a model would run; `reason` is one sentence, empty where it can run."""

    device: str
    reason: str = ""

    @property
    def runs(self) -> bool:
        return not self.reason


def availability(entry: ModelEntry) -> Availability:
    """Look at the devices of this machine, their free memory, and whether the weights are here or can be fetched.

    May ask the Hub for a file's headers, which takes up to a few seconds without a network.
    """
    from flextok.loading.hub import why_unavailable

    def fetched() -> str:
        if entry.source != "hub":
            return ""
        repo = entry.id.partition("@")[0]
        return why_unavailable(repo, "README.md" if repo == VIDTOK else "config.json")

    if not entry.needs_gpu:
        return Availability("cpu", fetched())
    from flextok.released.load import default_device
    from flextok.released.memory import GIB, free_bytes

    device = default_device()
    if device.type == "cpu":
        return Availability(
            "cpu", f"needs a GPU: one clip is about {entry.tflop_per_clip:.0f} TFLOP, many minutes on a CPU"
        )
    free = free_bytes(device) / GIB
    if free < entry.memory_gib:
        return Availability(
            device.type, f"needs {entry.memory_gib:.1f} GiB of GPU memory, this machine has {free:.1f} GiB free"
        )
    return Availability(device.type, fetched())


def local_id(source: str) -> str:
    """How a checkpoint of this machine is called on a page: its folder's name, not where that lies."""
    return f"local/{Path(source).name}"


def describe_local(source: str) -> tuple[ModelEntry, Availability]:
    """What a picker shows of a checkpoint on this machine's disk; one that cannot be read says why.

    Args:
        source: a folder or file as `load_tokenizer` takes it.
    """
    from flextok.api import load_folder
    from flextok.loading.errors import CheckpointError
    from flextok.released.load import default_device, describe_released, is_released
    from flextok.released.memory import GIB

    def entry(
        pixels: int, k: int, num_ids: int, parameters: int, steps: int, guidance: float, grid: str = ""
    ) -> ModelEntry:
        millions, gib = parameters / 1e6, parameters * 4 / GIB
        work, unknown = 0.0, "not stated"
        return ModelEntry(
            local_id(source),
            "register",
            "local",
            pixels,
            k,
            num_ids,
            millions,
            gib,
            work,
            steps,
            guidance,
            unknown,
            unknown,
            grid,
        )

    try:
        pipe = describe_released(source) if is_released(Path(source)) else load_folder(Path(source))
        info, steps, guidance = pipe.info, pipe.config.num_inference_steps, pipe.config.guidance_scale
    except CheckpointError as error:
        return entry(0, 1, 2, 0, 1, 1.0), Availability("cpu", str(error))
    if info.kind != "register":
        return entry(info.height, 1, 2, 0, 1, 1.0), Availability("cpu", "is a grid tokenizer, which has no prefix")
    grid = grid_entry(info.height).id if is_released(Path(source)) else ""  # the authors' clips are its own
    described = entry(info.height, info.num_registers, info.num_ids, info.parameters, steps, guidance, grid)
    return described, Availability(default_device().type)
