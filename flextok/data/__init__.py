"""Toybox, folder datasets, video files and pixels. Names are looked up when first used, so importing this is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flextok.data.datasets import ClipBank, MixtureDataset, ToyboxDataset
    from flextok.data.folder import FolderDataset
    from flextok.data.pixels import to_float, to_uint8
    from flextok.data.toybox_caption import caption
    from flextok.data.toybox_render import render
    from flextok.data.toybox_spec import ToyboxSpec, sample_spec
    from flextok.data.video_limits import VideoError
    from flextok.data.video_read import pad_to_chunks, probe_video, read_video
    from flextok.data.video_write import write_video

_HOME = {
    "ClipBank": "datasets",
    "FolderDataset": "folder",
    "MixtureDataset": "datasets",
    "ToyboxDataset": "datasets",
    "ToyboxSpec": "toybox_spec",
    "VideoError": "video_limits",
    "caption": "toybox_caption",
    "pad_to_chunks": "video_read",
    "probe_video": "video_read",
    "read_video": "video_read",
    "render": "toybox_render",
    "sample_spec": "toybox_spec",
    "to_float": "pixels",
    "to_uint8": "pixels",
    "write_video": "video_write",
}
__all__ = [
    "ClipBank", "FolderDataset", "MixtureDataset", "ToyboxDataset", "ToyboxSpec", "VideoError", "caption",
    "pad_to_chunks", "probe_video", "read_video", "render", "sample_spec", "to_float", "to_uint8", "write_video",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"flextok.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'flextok.data' has no attribute {name!r}")
