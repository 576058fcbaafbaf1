"""Checks of the device and the number format that callers ask for: one sentence, before anything is read."""

from __future__ import annotations

import torch


def usable_device(device: object) -> torch.device:
    """`device` as a torch.device of this machine. Raises ValueError where there is none such here."""
    try:
        found = torch.device(device)  # type: ignore[call-overload]  # callers give anything
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is none that PyTorch knows, such as cpu, cuda, cuda:1 or mps") from error
    try:
        torch.empty(0, device=found)
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # AssertionError: built without CUDA
        raise ValueError(f"device={str(found)!r} is not on this machine, or this PyTorch cannot use it") from error
    return found


def check_dtype(dtype: object) -> None:
    """Raise ValueError unless `dtype` is None or one of torch's floating-point types."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype={dtype!r} must be a floating-point torch.dtype such as torch.bfloat16")
