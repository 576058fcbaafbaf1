"""Toybox, folder datasets, video files and pixels. Names are looked up when first used, so importing this is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flextok.data.datasets import ClipBank, ToyboxDataset
    from flextok.data.folder import FolderDataset
    from flextok.toybox.caption import caption
    from flextok.toybox.render import render
    from flextok.toybox.sampling import sample_spec
    from flextok.toybox.spec import ToyboxSpec
    from flextok.video.limits import VideoError
    from flextok.video.pixels import to_float, to_uint8
    from flextok.video.read import pad_to_chunks, probe_video, read_video
    from flextok.video.write import write_video

_HOME = {
    "ClipBank": "data.datasets",
    "FolderDataset": "data.folder",
    "ToyboxDataset": "data.datasets",
    "ToyboxSpec": "toybox.spec",
    "VideoError": "video.limits",
    "caption": "toybox.caption",
    "pad_to_chunks": "video.read",
    "probe_video": "video.read",
    "read_video": "video.read",
    "render": "toybox.render",
    "sample_spec": "toybox.sampling",
    "to_float": "video.pixels",
    "to_uint8": "video.pixels",
    "write_video": "video.write",
}
__all__ = [
    "ClipBank", "FolderDataset", "ToyboxDataset", "ToyboxSpec", "VideoError", "caption",
    "pad_to_chunks", "probe_video", "read_video", "render", "sample_spec", "to_float", "to_uint8", "write_video",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"flextok.{_HOME[name]}"), name)
    raise AttributeError(f"module 'flextok.data' has no attribute {name!r}")
