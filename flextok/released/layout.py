"""How lists of tokens share one packed sequence: order, attention, modulation, and rows stored once for many.

The reference lays all samples in one sequence, padded, under a block mask. Here the rows of all samples lie one after
another without padding: linear layers see one tall matrix, and attention runs per group of samples with equal layout.

Rows of a frame that are equal on entry (null, masked and prefix-masked tokens) stay equal through every layer, when
the mask treats all tokens of a frame alike. Such a run is stored once, and ln(count) is added to the attention logits
of its key: exp(logit + ln(count)) is what the whole run would have added to the softmax. This is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from flextok.models.layers.transformer import layer_norm
from flextok.released.masks import UNIFORM_MODES, attention_mask

Rows = tuple[tuple[int, ...], ...]
"""Rows stored, per frame and list: rows[frame][list]."""
MAX_CACHED_PLANS = 32
MAX_ROWS = 16_384
"""Rows of one sample; the released models have 2,560. Masks of longer ones would not fit into memory."""


@dataclass(frozen=True)
class MaskRule:
    """A packer's mask options; `cross_frame` holds (kinds, rule) pairs of the flexible mode."""

    mode: str
    cross_frame: tuple[tuple[str, str], ...] | None = None

    @property
    def merges_equal_rows(self) -> bool:
        return self.mode in UNIFORM_MODES


@dataclass(frozen=True)
class Segment:
    """Queries that see one range of keys: all of them, or those that `mask` allows or biases."""

    queries: slice
    keys: slice
    mask: Tensor | None

    @property
    def is_dense(self) -> bool:
        return self.mask is None or self.mask.dtype != torch.bool

    def mask_like(self, q: Tensor) -> Tensor | None:
        """The mask as `q` wants it: additive ones share its dtype."""
        return self.mask if self.mask is None or not self.is_dense else self.mask.to(q.dtype)


@dataclass(frozen=True)
class Group:
    """Samples whose rows are laid out alike; `start` is the first row in the packed sequence."""

    samples: tuple[int, ...]
    rows: Rows
    start: int
    segments: tuple[Segment, ...]

    @property
    def length(self) -> int:
        """Rows of one sample."""
        return sum(map(sum, self.rows))

    @property
    def stop(self) -> int:
        return self.start + len(self.samples) * self.length


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each token of each list is in the packed sequence (1, N, d).

    `shapes`: inner shape of each list, e.g. (16, 16) patches and (256,) registers; `places`: for each list the row of
    each token, (b, t, n). `base`: the packed sequence with the lists filled in that do not change between steps.
    """

    shapes: tuple[tuple[int, ...], ...]
    places: tuple[Tensor, ...]
    groups: tuple[Group, ...]
    base: Tensor
    fixed: tuple[bool, ...]

    @property
    def num_rows(self) -> int:
        return self.groups[-1].stop

    def pack(self, lists: Sequence[Tensor]) -> Tensor:
        """Lists (b, t, *inner, d) to the packed sequence (1, N, d)."""
        packed = self.base.clone()
        for tokens, place, fixed in zip(lists, self.places, self.fixed, strict=True):
            if not fixed:
                packed[0, place.flatten()] = tokens.reshape(-1, tokens.shape[-1]).to(packed.dtype)
        return packed

    def unpack(self, packed: Tensor, index: int) -> Tensor:
        """One list back, (b, t, *inner, d); rows that stand for several tokens are repeated."""
        return packed[0, self.places[index]].unflatten(2, self.shapes[index])

    def attend(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention inside each sample; q, k, v (1, heads, N, head_dim) -> (1, N, heads, head_dim)."""
        outputs = []
        for group in self.groups:
            shape = (len(group.samples), group.length)
            # (samples, heads, rows of a sample, head_dim), views
            gq, gk, gv = (x[0, :, group.start : group.stop].unflatten(1, shape).transpose(0, 1) for x in (q, k, v))
            parts = [
                F.scaled_dot_product_attention(
                    gq[:, :, part.queries],
                    gk[:, :, part.keys],
                    gv[:, :, part.keys],
                    attn_mask=part.mask_like(q),
                    scale=scale,
                ).transpose(1, 2)
                for part in group.segments
            ]
            joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            outputs.append(joined.flatten(0, 1))  # (rows of the group, heads, head_dim)
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).unsqueeze(0)

    def views(self, packed: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Views of the packed sequence that each hold rows of one list only, with that list's index."""
        for group in self.groups:
            rows = packed[0, group.start : group.stop].unflatten(0, (len(group.samples), group.length))
            start, frame = 0, 0
            while frame < len(group.rows):
                counts = group.rows[frame]
                alike = 1  # consecutive frames with the same counts share one view
                while frame + alike < len(group.rows) and group.rows[frame + alike] == counts:
                    alike += 1
                stop = start + alike * sum(counts)
                frames = rows[:, start:stop].unflatten(1, (alike, sum(counts)))
                yield from enumerate(frames.split(counts, dim=2))
                start, frame = stop, frame + alike

    def to(self, device: torch.device | str) -> Layout:
        """The same layout with its tensors on another device."""
        groups = tuple(
            replace(
                group,
                segments=tuple(
                    replace(part, mask=None if part.mask is None else part.mask.to(device)) for part in group.segments
                ),
            )
            for group in self.groups
        )
        places = tuple(place.to(device) for place in self.places)
        return replace(self, places=places, groups=groups, base=self.base.to(device))


@dataclass(frozen=True, eq=False)
class PackedModulation:
    """adaLN of one block on a packed sequence: each list has its six vectors, broadcast over views of its rows.

    `vectors`: (lists, 6, d) in the order of `Modulation`, with 1 already added to the scales. Writes in place, into
    tensors that this block made, and into the residual stream, which belongs to the trunk.
    """

    layout: Layout
    vectors: Tensor

    def before_attention(self, x: Tensor) -> Tensor:
        return self._modulate(x, shift=2, scale=3)

    def after_attention(self, x: Tensor, y: Tensor) -> Tensor:
        return self._add_gated(x, y, gate=0)

    def before_mlp(self, x: Tensor) -> Tensor:
        return self._modulate(x, shift=4, scale=5)

    def after_mlp(self, x: Tensor, y: Tensor) -> Tensor:
        return self._add_gated(x, y, gate=1)

    def _modulate(self, x: Tensor, shift: int, scale: int) -> Tensor:
        y = layer_norm(x)
        for index, part in self.layout.views(y):
            vectors = self.vectors[index]
            if torch.compiler.is_compiling():  # which cannot trace `out=` a view, and fuses these two anyway
                part.mul_(vectors[scale]).add_(vectors[shift])
            else:
                torch.addcmul(vectors[shift], part, vectors[scale], out=part)
        return y

    def _add_gated(self, x: Tensor, y: Tensor, gate: int) -> Tensor:
        for (index, into), (_, part) in zip(self.layout.views(x), self.layout.views(y), strict=True):
            into.addcmul_(part.to(x.dtype), self.vectors[index, gate])
        return x

    def to(self, device: torch.device | str) -> PackedModulation:
        return PackedModulation(self.layout.to(device), self.vectors.to(device))


def equal_tails(tokens: Tensor) -> Tensor:
    """Length of the run of equal rows that ends each frame: tokens (b, t, n, d) -> (b, t), in 1..n."""
    equal = (tokens == tokens[:, :, -1:]).all(-1)  # (b, t, n)
    return equal.flip(-1).long().cumprod(-1).sum(-1)


@lru_cache(maxsize=MAX_CACHED_PLANS)
def plan_segments(
    rows: Rows, counts: Rows, rule: MaskRule, device: torch.device, plain: bool = False
) -> tuple[Segment, ...]:
    """Cut a sample's attention into dense pieces where the mask allows it.

    Args:
        counts: how many tokens the last row of each frame and list stands for; 1 nearly everywhere.
        plain: one piece under the whole mask.
    """
    lengths = [sum(frame) for frame in rows]
    frames = torch.arange(len(rows)).repeat_interleave(torch.tensor(lengths))
    indices = torch.cat([torch.arange(length) for length in lengths])
    cross_frame = dict(rule.cross_frame) if rule.cross_frame else None
    mask = attention_mask(rule.mode, frames, indices, sum(rows[0][:-1]), cross_frame)  # (s, s)
    if plain:
        everything = slice(0, len(frames))
        return (Segment(everything, everything, None if mask.all() else mask.to(device)),)
    bias = _count_bias(rows, counts)
    segments: list[Segment] = []
    start = 0
    for length in (n for frame in rows for n in frame if n):
        queries = slice(start, start + length)
        start += length
        seen = mask[queries].any(0).nonzero()
        keys = slice(int(seen[0]), int(seen[-1]) + 1)
        allowed = mask[queries, keys]
        if not allowed.all():
            # Rows are merged only under rules that hide whole frames, so there is no bias to add here.
            segments.append(Segment(queries, keys, allowed.to(device)))
        elif segments and segments[-1].keys == keys and segments[-1].is_dense:
            segments[-1] = replace(segments[-1], queries=slice(segments[-1].queries.start, queries.stop))
        else:
            additive = None if bias is None else bias[keys].to(device)[None, None, None]  # (1, 1, 1, keys)
            segments.append(Segment(queries, keys, additive))
    return tuple(segments)


def _count_bias(rows: Rows, counts: Rows) -> Tensor | None:
    """ln(count) of each row, (s,), or None where every row stands for itself."""
    if all(count == 1 for frame in counts for count in frame):
        return None
    values = []
    for frame_rows, frame_counts in zip(rows, counts, strict=True):
        for n, count in zip(frame_rows, frame_counts, strict=True):
            values += [0.0] * (n - 1) + [math.log(count)] * (n > 0)
    return torch.tensor(values)


def build_layout(lists: Sequence[Tensor], fixed: Sequence[bool], rule: MaskRule, plain: bool = False) -> Layout:
    """Lay out lists (b, t, *inner, d) of one packed sequence.

    Args:
        fixed: which lists keep their values while the layout is used; only their rows can be merged.
        plain: a row for every token and one attention under the whole mask: for comparisons.

    Raises:
        ValueError: the lists differ in batch, frames or width.
    """
    if len({tokens.shape[:2] + tokens.shape[-1:] for tokens in lists}) != 1:
        raise ValueError(f"lists to pack differ in batch, frames or width: {[tuple(x.shape) for x in lists]}")
    batch, num_frames = lists[0].shape[:2]
    shapes = tuple(tuple(tokens.shape[2:-1]) for tokens in lists)
    sizes = [math.prod(shape) for shape in shapes]
    if num_frames * sum(sizes) > MAX_ROWS:
        raise ValueError(f"{num_frames} frames of {sum(sizes)} tokens are more than {MAX_ROWS} tokens in one sequence")
    device, width = lists[0].device, lists[0].shape[-1]

    tails = torch.ones(batch, num_frames, len(lists), dtype=torch.long)
    if not plain and rule.merges_equal_rows and device.type != "meta":
        for index, tokens in enumerate(lists):
            if fixed[index]:
                tails[:, :, index] = equal_tails(tokens.flatten(2, -2)).cpu()
    stored = torch.tensor(sizes) - tails + 1  # (b, t, lists)

    layouts: dict[tuple[Rows, Rows], list[int]] = {}
    for sample in range(batch):
        key = (_as_tuples(stored[sample]), _as_tuples(tails[sample]))
        layouts.setdefault(key, []).append(sample)
    groups, start = [], 0
    for (rows, counts), samples in layouts.items():
        segments = plan_segments(rows, counts, rule, device, plain)
        groups.append(Group(tuple(samples), rows, start, segments))
        start = groups[-1].stop

    places = tuple(_places(index, size, batch, groups).to(device) for index, size in enumerate(sizes))
    base = torch.empty(1, start, width, device=device, dtype=torch.promote_types(lists[0].dtype, lists[-1].dtype))
    layout = Layout(shapes, places, tuple(groups), base, (False,) * len(lists))
    if not any(fixed):
        return layout
    for tokens, place, is_fixed in zip(lists, places, fixed, strict=True):
        if is_fixed:
            base[0, place.flatten()] = tokens.reshape(-1, width).to(base.dtype)
    return replace(layout, fixed=tuple(fixed))


def _as_tuples(values: Tensor) -> Rows:
    return tuple(tuple(frame) for frame in values.tolist())


def _places(index: int, size: int, batch: int, groups: Sequence[Group]) -> Tensor:
    """Row of each token of list `index` in the packed sequence: (b, t, size); merged tokens share the last row."""
    places = torch.empty(batch, len(groups[0].rows), size, dtype=torch.long)
    for group in groups:
        row = 0
        for frame, counts in enumerate(group.rows):
            inside = torch.arange(size).clamp(max=counts[index] - 1)
            first = group.start + row + sum(counts[:index])
            for number, sample in enumerate(group.samples):
                places[sample, frame] = first + number * group.length + inside
            row += sum(counts)
    return places


def mask_rule(mode: str, cross_frame: Mapping[str, str] | None) -> MaskRule:
    return MaskRule(mode, tuple(sorted(cross_frame.items())) if cross_frame else None)
