"""The way in for users: `load_tokenizer`."""

from __future__ import annotations

from pathlib import Path

import torch

from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.loading import CheckpointError, load_strict, read_json
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.registry import ASSETS
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

TOKENIZERS = {"RegisterTokenizer": RegisterTokenizer, "GridTokenizer": GridTokenizer}
"""The only classes a checkpoint can name; anything else is refused, never imported."""


def load_tokenizer(
    source: str | Path = "embedded", device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> VideoTokenizerPipeline:
    """Load a tokenizer, ready to run.

    Args:
        source: "embedded", "embedded-grid", a folder written by `save_pretrained`, or a Hub id of such a folder.
        device: None stays on the CPU.
        dtype: None is float32.

    Raises:
        CheckpointError: a ValueError in one sentence: no such model, no network, or damaged or foreign files.
    """
    name = str(source)
    if name in ("embedded", "embedded-grid"):
        pipe = load_folder(ASSETS / name, dtype, vae_folder=ASSETS / "embedded" / "vae")
    else:
        pipe = load_folder(Path(source) if Path(source).is_dir() else _download(name), dtype)
    pipe.source = name
    return pipe.to(device) if device is not None else pipe


def load_folder(
    folder: Path, dtype: torch.dtype | None = None, vae_folder: Path | None = None
) -> VideoTokenizerPipeline:
    """A pipeline folder as `VideoTokenizerPipeline.save_pretrained` writes it; `vae_folder` shares another one's VAE.

    Raises:
        CheckpointError: as in `load_tokenizer`.
    """
    index = read_json(folder / "model_index.json")
    if index.get("_class_name") != VideoTokenizerPipeline.__name__:
        raise CheckpointError(f"{folder} holds {index.get('_class_name')!r}, not a {VideoTokenizerPipeline.__name__}")
    kind = index.get("tokenizer", [None, None])
    if not isinstance(kind, list) or len(kind) != 2 or kind[1] not in TOKENIZERS:
        raise CheckpointError(f"{folder} names tokenizer {kind!r}; known are {', '.join(TOKENIZERS)}")
    scheduler = {
        k: v for k, v in read_json(folder / "scheduler" / "scheduler_config.json").items() if not k.startswith("_")
    }
    options = {k: index[k] for k in ("name", "fps", "licence", "num_inference_steps", "guidance_scale") if k in index}
    try:
        return VideoTokenizerPipeline(
            vae=load_strict(AutoencoderCausalVideo, vae_folder or folder / "vae", dtype).to(
                memory_format=torch.channels_last
            ),
            tokenizer=load_strict(TOKENIZERS[kind[1]], folder / "tokenizer", dtype),
            scheduler=RectifiedFlowScheduler(**scheduler),
            **options,
        )
    except TypeError as error:
        raise CheckpointError(f"{folder} has settings this version does not know: {error}") from error


def _download(repo_id: str) -> Path:
    """A Hub repository's JSON and safetensors files in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repo_id, allow_patterns=["*.json", "*.safetensors"]))
    except HFValidationError as error:
        raise CheckpointError(f"{repo_id!r} is neither a folder nor a Hub id like 'owner/name'") from error
    except GatedRepoError as error:
        raise CheckpointError(f"{repo_id} is gated: accept its terms on its Hub page and log in") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"there is no repository {repo_id} on the Hub, or it is private") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(f"{repo_id} is not in the local cache and the Hub cannot be reached") from error


__all__ = ["CheckpointError", "load_folder", "load_tokenizer"]
