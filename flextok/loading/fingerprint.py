"""Which weights made these tokens: a short hash of a model's safetensors files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

FINGERPRINT_BYTES = 8


def fingerprint(files: Sequence[Path]) -> str:
    """16 hexadecimal digits from the content of `files` in their order; where they lie does not count.

    A file is hashed once, as long as its size and time stay the same: 50 MB take well under a second, 5 GB some.

    Raises:
        ValueError: there are no files, or one is gone.
    """
    if not files:
        raise ValueError("a tokenizer has a fingerprint once it is saved and loaded again with flextok.load_tokenizer")
    total = hashlib.sha256()
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise ValueError(f"the weights file {path.name} is gone, so it has no fingerprint") from error
        total.update(_digest(path, status.st_size, status.st_mtime_ns))
    return total.hexdigest()[: 2 * FINGERPRINT_BYTES]


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _mtime_ns: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() if hasattr(hashlib, "file_digest") else _by_blocks(file)


def _by_blocks(file) -> bytes:  # type: ignore[no-untyped-def]  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.digest()
