"""Giving memory back: glibc keeps a heap for each of the many threads that answer visitors, and rarely returns one."""

from __future__ import annotations

import ctypes
import gc

M_ARENA_MAX = -8
ARENAS = 2


def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # not Linux with glibc: its allocator is none of our business
        return None
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None


LIBC = _libc()


def few_heaps() -> None:
    """Let all threads share two heaps; call it before threads start."""
    if LIBC is not None:
        LIBC.mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return what is free to the system; takes a few milliseconds."""
    gc.collect(0)
    if LIBC is not None:
        LIBC.malloc_trim(0)
