"""Modules that make and change tokens: patches, registers, positions, projections, masks (contract, 7.1-7.9)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from flextok.models.layers.transformer import TimestepEmbedder as TimeMLP
from flextok.released.graph import Op
from flextok.released.nodes.base import DtypeOverride, Node, autocast_override, checked_patch, refuse


def channels_first_to_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def channels_last_to_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def patchify(x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """(b, t, h, w, c) -> (b, t', h', w', pt ph pw c), channels fastest."""
    pt, ph, pw = patch
    return rearrange(x, "b (t x) (h y) (w z) c -> b t h w (x y z c)", x=pt, y=ph, z=pw)


def unpatchify(x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Inverse of `patchify`."""
    pt, ph, pw = patch
    return rearrange(x, "b t h w (x y z c) -> b (t x) (h y) (w z) c", x=pt, y=ph, z=pw)


class PerSampleOp(Node):
    """Moves the channel axis."""

    def __init__(self, *, read_key: str, write_key: str, per_sample_op: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read_key, self.write_key, self.move = read_key, write_key, per_sample_op

    def ops(self) -> list[Op]:
        return [Op(lambda x: (self.move(x),), (self.read_key,), (self.write_key,))]


class PatchEmbedder(Node):
    """Latents (b, t, h, w, c) to patch tokens (b, t / pt, h / ph, w / pw, d)."""

    TRAINING_ONLY: ClassVar = frozenset({"weight_init_style"})

    def __init__(
        self,
        *,
        input_tensor_list_read_key: str,
        patches_list_write_key: str,
        n_patches_write_key: str,
        patch_sizes: tuple[int, ...],
        channels_in: int,
        dim: int | None,
        flatten_patches: bool = True,
    ) -> None:
        super().__init__()
        if dim is None:
            refuse(self, "dim", dim, "the reference fails on it")
        if flatten_patches:
            refuse(self, "flatten_patches", flatten_patches, "video models keep the patch grid")
        self.reads, self.writes = (input_tensor_list_read_key,), (patches_list_write_key, n_patches_write_key)
        self.patch = checked_patch(self, patch_sizes)
        self.patch_proj = nn.Linear(channels_in * math.prod(patch_sizes), dim or 0)

    def ops(self) -> list[Op]:
        return [Op(self, self.reads, self.writes)]

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        for size, patch in zip(x.shape[1:4], self.patch, strict=True):
            if size % patch:
                raise ValueError(f"latents of size {tuple(x.shape[1:4])} are not divisible by patches {self.patch}")
        patches = self.patch_proj(patchify(x, self.patch).to(self.patch_proj.weight.dtype))
        return patches, tuple(patches.shape[1:4])


class PositionalEmbeddingAdder(Node):
    """Adds a position table to tokens (b, *sizes, d); the table is combined once a chunk."""

    TRAINING_ONLY: ClassVar = frozenset({"posemb_write_key"})  # nothing reads the table under that key

    def __init__(
        self,
        *,
        read_key: str,
        write_key: str,
        dim: int,
        max_sizes: tuple[int, ...],
        posemb_type: Literal["sincos", "learnable_sum", "learnable_prod"] = "sincos",
        posemb_scaling: Literal["absolute", "interpolate"] = "absolute",
    ) -> None:
        super().__init__()
        if posemb_type == "sincos" and len(max_sizes) != 2:
            refuse(self, "max_sizes", max_sizes, "sincos tables have two axes")
        if posemb_type != "sincos" and (len(set(max_sizes)) != 1 or len(max_sizes) > 3):
            refuse(self, "max_sizes", max_sizes, "learnable tables have one to three axes of equal size")
        if posemb_scaling == "interpolate" and len(max_sizes) != 2:
            refuse(self, "posemb_scaling", posemb_scaling, "only tables with two axes can be interpolated")
        self.read_key, self.write_key = read_key, write_key
        self.max_sizes, self.kind, self.scaling = max_sizes, posemb_type, posemb_scaling
        shape = (1, dim, *max_sizes) if posemb_type == "sincos" else (len(max_sizes), 1, dim, max_sizes[0])
        self.posembs = nn.Parameter(torch.zeros(shape))

    def ops(self) -> list[Op]:
        table_key = f"{self.write_key}/positions"
        return [
            Op(self._table, (), (table_key,), shapes=(self.read_key,)),
            Op(lambda x, table: (x + table,), (self.read_key, table_key), (self.write_key,)),
        ]

    def _table(self, x: Tensor) -> tuple[Tensor]:
        return (self(tuple(x.shape[1:-1])),)

    def forward(self, sizes: tuple[int, ...]) -> Tensor:
        """The table (*sizes, d).

        Raises:
            ValueError: another number of axes, or sizes beyond an absolute table.
        """
        if len(sizes) != len(self.max_sizes):
            raise ValueError(f"tokens have {len(sizes)} axes, positions are for {len(self.max_sizes)}")
        interpolated = self.scaling == "interpolate"
        if not interpolated and any(n > most for n, most in zip(sizes, self.max_sizes, strict=True)):
            raise ValueError(f"tokens of size {sizes} exceed the position table's {self.max_sizes}")
        used = self.max_sizes if interpolated else sizes
        if self.kind == "sincos":
            cut = (slice(None), *(slice(n) for n in used))
            table = self.posembs[0][cut]  # (d, *used)
        else:
            table = self._combined(used)
        if interpolated and sizes != self.max_sizes:
            table = F.interpolate(table[None], size=sizes, mode="bilinear", align_corners=True)[0]
        return table.movedim(0, -1).contiguous()

    def _combined(self, sizes: tuple[int, ...]) -> Tensor:
        """Sum or product of one vector per axis: (d, *sizes). Cut first: a whole 3-D table may be huge."""
        combine = torch.add if self.kind == "learnable_sum" else torch.mul
        *outer, table = (vectors[:, :n] for vectors, n in zip(self.posembs[:, 0], sizes, strict=True))  # each (d, n)
        for vectors in reversed(outer):  # h with w first, then t: the order of the float32 sums
            table = combine(vectors.reshape(*vectors.shape, *[1] * (table.ndim - 1)), table.unsqueeze(1))
        return table


class RegistersTemporal2D(Node):
    """Learned registers of each latent frame: (b, t, n, d) from `registers` (t_max, n_max, d)."""

    TRAINING_ONLY: ClassVar = frozenset({"n_min", "size_sampling_mode", "ordering_mode"})

    def __init__(
        self,
        *,
        input_tensor_list_read_key: str,
        register_sizes_read_write_key: str,
        registers_write_key: str,
        dim: int,
        t_max: int,
        n_max: int,
        n_eval: int | None = None,
        extra_registers_write_key: str | None = None,
        extra_registers_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.read_key, self.sizes_key, self.write_key = (
            input_tensor_list_read_key,
            register_sizes_read_write_key,
            registers_write_key,
        )
        self.t_max, self.num_registers = t_max, n_max if n_eval is None else n_eval
        if not 0 < self.num_registers <= n_max:
            refuse(self, "n_eval", n_eval, f"there are n_max={n_max} registers")
        self.registers = nn.Parameter(torch.zeros(t_max, n_max, dim))
        self.extra_key = extra_registers_write_key
        if extra_registers_write_key is not None:
            self.extra_registers = nn.Parameter(torch.zeros(t_max, n_max, extra_registers_dim or dim))

    def ops(self) -> list[Op]:
        writes = (self.sizes_key, self.write_key) + (() if self.extra_key is None else (self.extra_key,))
        return [Op(self, (), writes, optional=(self.sizes_key,), shapes=(self.read_key,))]

    def forward(self, sizes: int | None, like: Tensor) -> tuple[int | Tensor, ...]:
        b, t = like.shape[:2]
        if t > self.t_max:
            raise ValueError(f"{t} latent frames exceed the t_max={self.t_max} that registers exist for")
        n = self.num_registers if sizes is None else sizes
        parameters = [self.registers] + ([] if self.extra_key is None else [self.extra_registers])
        return (n, *(p[:t, :n].expand(b, -1, -1, -1) for p in parameters))


class LinearLayer(Node):
    """A linear layer over the last axis."""

    TRAINING_ONLY: ClassVar = frozenset({"weight_init_style"})

    def __init__(
        self,
        *,
        read_key: str,
        write_key: str,
        dim_in: int,
        dim: int,
        dtype_override: DtypeOverride | None = None,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        self.read_key, self.write_key, self.dtype_override = read_key, write_key, dtype_override
        self.proj = nn.Linear(dim_in, dim, bias=proj_bias)

    def ops(self) -> list[Op]:
        return [Op(self, (self.read_key,), (self.write_key,))]

    def forward(self, x: Tensor) -> tuple[Tensor]:
        with autocast_override(self.dtype_override, x):
            return (self.proj(x.to(self.proj.weight.dtype)),)


class TimestepEmbedder(TimeMLP, Node):
    """Time (n,) in (0, max_timestep] to embeddings (n, d)."""

    TRAINING_ONLY: ClassVar = frozenset({"weight_init_style"})

    def __init__(
        self,
        *,
        timesteps_read_key: str,
        time_embedding_write_key: str,
        dim: int,
        frequency_embedding_size: int = 256,
        max_timestep: float = 1000.0,
        temb_as_tokens: bool = False,
    ) -> None:
        if temb_as_tokens:
            refuse(self, "temb_as_tokens", temb_as_tokens, "no packer accepts time embeddings as tokens")
        super().__init__(dim, frequency_embedding_size, max_timestep)
        self.read_key, self.write_key = timesteps_read_key, time_embedding_write_key

    def ops(self) -> list[Op]:
        return [Op(self._embed, (self.read_key,), (self.write_key,))]

    def _embed(self, t: Tensor) -> tuple[Tensor]:
        if t.device.type != "meta" and float(t.max()) > self.max_timestep:
            raise ValueError(f"timestep {float(t.max())} is above max_timestep={self.max_timestep}")
        return (self(t),)


class LearnedNullCond(Node):
    """Replaces all tokens of flagged samples by one learned token: the unconditional pass."""

    TRAINING_ONLY: ClassVar = frozenset({"dropout_prob"})

    def __init__(
        self,
        *,
        read_write_key: str,
        dim: int,
        eval_drop_flag_read_key: str = "eval_dropout_mask",
        replace_with_single_token: bool = False,
    ) -> None:
        super().__init__()
        if replace_with_single_token:
            refuse(self, "replace_with_single_token", True, "its effect is not specified")
        self.key, self.flag_key = read_write_key, eval_drop_flag_read_key
        self.nullcond = nn.Parameter(torch.zeros(dim))

    def ops(self) -> list[Op]:
        return [Op(self, (self.key,), (self.key,), optional=(self.flag_key,))]

    def forward(self, x: Tensor, dropped: Tensor | None) -> tuple[Tensor]:
        """x: (b, t, n, d); dropped: (b,) bool."""
        if dropped is None:
            return (x,)
        return (torch.where(dropped.reshape(-1, *[1] * (x.ndim - 1)), self.nullcond.to(x.dtype), x),)


class MaskedNestedDropout(Node):
    """Replaces all but the first k tokens of each latent frame by a mask token."""

    TRAINING_ONLY: ClassVar = frozenset({"train_keep_k_write_key", "size_sampling_mode", "zipf_a"})

    def __init__(self, *, read_write_key: str, dim: int, eval_keep_k_read_key: str = "eval_keep_k") -> None:
        super().__init__()
        self.key, self.keep_key = read_write_key, eval_keep_k_read_key
        self.dropout_mask_token = nn.Parameter(torch.zeros(dim))

    def ops(self) -> list[Op]:
        return [Op(self, (self.key,), (self.key,), optional=(self.keep_key,))]

    def forward(self, x: Tensor, keep_k: Tensor | None) -> tuple[Tensor]:
        """x: (b, t, n, d); keep_k: (b,)."""
        if keep_k is None:
            return (x,)
        kept = torch.arange(x.shape[-2], device=x.device) < keep_k[:, None]  # (b, n)
        return (torch.where(kept[:, None, :, None], x, self.dropout_mask_token.to(x.dtype)),)


class MaskedPrefixDropout(Node):
    """Replaces the tokens of conditioned latent frames by a mask token: those frames are given."""

    TRAINING_ONLY: ClassVar = frozenset({"prefix_len_read_key"})

    def __init__(self, *, read_write_key: str, dim: int, eval_prefix_len_read_key: str = "eval_prefix_len") -> None:
        super().__init__()
        self.key, self.prefix_key = read_write_key, eval_prefix_len_read_key
        self.dropout_mask_token = nn.Parameter(torch.zeros(dim))

    def ops(self) -> list[Op]:
        return [Op(self, (self.key,), (self.key,), optional=(self.prefix_key,))]

    def forward(self, x: Tensor, prefix_len: Tensor | None) -> tuple[Tensor]:
        """x: (b, t, n, d); prefix_len: (b,), in latent frames."""
        if prefix_len is None:
            return (x,)
        masked = torch.arange(x.shape[1], device=x.device) < prefix_len[:, None]  # (b, t)
        return (torch.where(masked[:, :, None, None], self.dropout_mask_token.to(x.dtype), x),)
