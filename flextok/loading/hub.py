"""Getting a checkpoint's files from the Hugging Face Hub; every way this can fail is one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import hf_hub_download
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

    Fetches one small file to find out.
    """
    try:
        download(repo, (small,))
    except CheckpointError as error:
        return str(error)
    return ""


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
