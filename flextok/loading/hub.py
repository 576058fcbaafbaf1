"""Getting a checkpoint's files from the Hugging Face Hub; every way this can fail is one sentence."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from flextok.loading.errors import CheckpointError

PATIENCE_S = 3.0
_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


class MissingFileError(CheckpointError):
    """The repository is there, the file is not."""


def is_repo_id(source: str) -> bool:
    """Is this "owner/name" and no path of this machine?"""
    return _REPO_ID.fullmatch(source) is not None and not source.startswith(".") and not Path(source).exists()


def download(repo: str, names: tuple[str, ...], revision: str | None = None) -> Path:
    """Fetch files of a repository, small ones first, and return the folder they lie in.

    Files that were fetched before come from the cache, also without a network. Progress is shown as they load.

    Args:
        revision: a branch, tag or commit; only a commit pins what is loaded.

    Raises:
        CheckpointError: no network and nothing cached, no such repository or revision or file, or no access.
    """
    folder = Path()
    for name in names:
        with _one_sentence(repo, name, revision):
            path = Path(hf_hub_download(repo, name, revision=revision))
            folder = path.parents[name.count("/")]
    return folder


def why_unavailable(repo: str, small: str = "config.json") -> str:
    """Why a repository can be had neither from the cache nor from the Hub, in one sentence; empty if it can.

    Fetches one small file to find out. Without a network this is told at once: the Hub's client would try for half a
    minute.
    """
    if isinstance(try_to_load_from_cache(repo, small), str):
        return ""
    if not constants.HF_HUB_OFFLINE and not _answers(constants.ENDPOINT):
        return f"{repo} is not on this machine, and {constants.ENDPOINT} does not answer"
    try:
        download(repo, (small,))
    except CheckpointError as error:
        return str(error)
    return ""


def _answers(address: str) -> bool:
    """Does anything take a connection there? Behind a proxy this is not ours to know."""
    parts = urlsplit(address)
    if parts.scheme in getproxies():
        return True
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=PATIENCE_S).close()
    except OSError:
        return False
    return True


@contextmanager
def _one_sentence(repo: str, name: str, revision: str | None) -> Iterator[None]:
    """Whatever the Hub's client raises inside becomes a CheckpointError."""
    at = "" if revision is None else f" at revision {revision!r}"
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repo} is gated: accept its terms on huggingface.co/{repo} and log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{repo} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{repo} does not exist on the Hub, or is private and you are not logged in") from error
    except LocalEntryNotFoundError as error:  # a kind of EntryNotFoundError, so it comes first
        raise CheckpointError(f"{repo}{at} cannot be reached (offline) and {name} is not in the cache") from error
    except EntryNotFoundError as error:
        raise MissingFileError(f"{repo}{at} holds no {name}, so it is no VideoFlexTok checkpoint") from error
    except HFValidationError as error:
        raise CheckpointError(f"{repo!r} is not the name of a repository") from error
    except (HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{name} of {repo}{at} could not be downloaded: {error}") from error
