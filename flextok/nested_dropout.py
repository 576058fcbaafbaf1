"""Nested dropout: which prefixes of the registers training sees (arXiv:2604.12887)."""

from __future__ import annotations


def prefix_lengths(num_registers: int) -> tuple[int, ...]:
    """Powers of two up to K: 1, 2, 4, ..., K. Training draws one of them (the paper uniformly, ours by weights that may
    differ); every budget between them works too.

    Raises:
        ValueError: num_registers < 1.
    """
    if num_registers < 1:
        raise ValueError(f"num_registers={num_registers} must be at least 1")
    lengths = [1 << i for i in range(num_registers.bit_length()) if 1 << i < num_registers]
    return (*lengths, num_registers)
