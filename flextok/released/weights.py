"""What is particular to the weight files of released checkpoints (contract, sections 2 and 2.2)."""

from __future__ import annotations

from typing import Any

import torch
import yaml

from flextok.loading.errors import CheckpointError
from flextok.loading.weights_file import Header
from flextok.released.vae import VAESize

HUB_PREFIX = "video_tokenizer."
VAE_PREFIX = "vae.vidtok."
MAX_METADATA_CHARACTERS = 1_000_000
MAX_VAE_CHANNELS = 1024
MAX_RES_BLOCKS = 16


def own_name(stored: str) -> str:
    """The name of our module for one in a released file."""
    name = stored.removeprefix(HUB_PREFIX)
    for half in ("encoder", "decoder"):
        # left behind where the VAE was compiled
        name = name.replace(f"{VAE_PREFIX}{half}._orig_mod.", f"{VAE_PREFIX}{half}.", 1)
    return name


def vae_size(header: Header) -> VAESize:
    """Channels and blocks of the VAE, which the config leaves to the weights.

    Raises:
        CheckpointError: there are no VAE weights, or of a size that no VAE has.
    """
    first = header.tensors.get(f"{VAE_PREFIX}encoder.conv_in.conv.weight")
    if first is None or not first.shape:
        raise CheckpointError(f"{header.path.name} holds no VAE weights ({VAE_PREFIX}encoder.conv_in.conv.weight)")
    prefix = f"{VAE_PREFIX}encoder.down.0.block."
    blocks = {name.removeprefix(prefix).split(".")[0] for name in header.tensors if name.startswith(prefix)}
    channels = first.shape[0]
    if not 1 <= channels <= MAX_VAE_CHANNELS or not 1 <= len(blocks) <= MAX_RES_BLOCKS:
        raise CheckpointError(
            f"{header.path.name}: a VAE with {channels} channels and {len(blocks)} blocks is not supported"
        )
    return VAESize(channels, len(blocks))


class _PlainLoader(yaml.SafeLoader):
    """YAML 1.1 without aliases, which could make a small text stand for a huge tree."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise CheckpointError("the config in the file's metadata uses YAML aliases")
        return super().compose_node(parent, index)


def config_from_metadata(header: Header) -> dict[str, Any]:
    """The config of a single-file checkpoint, one entry per top-level key, as the reference reads it.

    Differs from the reference: values beyond 10,000 characters are parsed too, not left as text that then fails.

    Raises:
        CheckpointError: there is no config in the file, or it is too large.
    """
    if "_target_" not in header.metadata:
        raise CheckpointError(
            f"{header.path.name} holds no config in its metadata, and there is no config.json beside it"
        )
    return {key: _parse_text(key, text) for key, text in header.metadata.items() if key != "format"}


def _parse_text(key: str, text: str) -> Any:
    if len(text) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(f"metadata entry {key!r} has {len(text)} characters, more than a config needs")
    text = text.replace("None", "null")
    try:
        return yaml.load(text, _PlainLoader)
    except CheckpointError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: dates and numbers that there are not
        return text
    except RecursionError as error:
        raise CheckpointError(f"metadata entry {key!r} is nested too deeply") from error


def heavy_dtype(header: Header) -> torch.dtype:
    """Dtype that most weights are stored in."""
    sizes: dict[str, int] = {}
    for info in header.tensors.values():
        sizes[info.dtype] = sizes.get(info.dtype, 0) + torch.Size(info.shape).numel()
    names = {"F64": torch.float32, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return names[max(sizes, key=lambda name: sizes[name])]
