"""Checks of numbers that callers and files give: one sentence, whatever was given instead."""

from __future__ import annotations

import math

import numpy as np


def whole_number(name: str, value: object, low: int, high: int | None = None) -> int:
    """`value` as an int in low..high (or from low on). Raises ValueError otherwise; True is no number."""
    limit = f"{low} or more" if high is None else f"{low}..{high}"
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be a whole number in {limit}")
    whole = int(value)
    if whole < low or (high is not None and whole > high):
        raise ValueError(f"{name}={whole} must be in {limit}")
    return whole


def number(name: str, value: object, low: float, high: float) -> float:
    """`value` as a float in low..high. Raises ValueError otherwise, also for NaN."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be a number in {low:g}..{high:g}")
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name}={value} must be in {low:g}..{high:g}")
    return float(value)
