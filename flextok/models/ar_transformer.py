"""Autoregressive model over video tokens: LLaMA-style (RMSNorm, SwiGLU, RoPE), conditioned on a class and a text.

As in arXiv:2604.12887 the class is added to the start token and texts act through cross-attention. Differs from the
paper: ids go in and out through their FSQ digits as well as through a table, because a model that sees few clips learns
eight levels sooner than a thousand ids, and one network serves classes and texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.models.layers.ar_layer import ARLayer, PreparedLayer, Rotation, rotary_tables, unit, with_gain
from flextok.models.layers.kv_cache import KVCache
from flextok.models.layers.transformer import Block, layer_norm
from flextok.models.word_tokenizer import WordTokenizer
from flextok.quantizers.fsq import FSQ
from flextok.token_order import TokenOrder


@dataclass(frozen=True)
class ARCondition:
    """What a sequence is conditioned on; the same batch size b throughout.

    `start` (b, d): start token with the class in it. `text` (b, s, d) and `mask` (b, s), False where padded.
    """

    start: Tensor
    text: Tensor
    mask: Tensor

    @staticmethod
    def join(first: ARCondition, second: ARCondition) -> ARCondition:
        """One batch of both, texts padded to the longer."""
        length = max(first.text.shape[1], second.text.shape[1])
        parts = [(c.start, *_padded(c, length)) for c in (first, second)]
        return ARCondition(*(torch.cat(pair) for pair in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Prepared:
    """What every token of a sequence needs and no token changes.

    Ids enter and leave through their digits and through tables; here these are added up, so that a step looks up one
    row of `tokens` (ids, d) and multiplies by one matrix `output` (ids, d), with `bias` (ids,). `positions` (n, d) and
    `rotation` are of the whole sequence. `mask` (b, 1, 1, s) is added to the logits of a text's words: minus infinity
    where padded.
    """

    tokens: Tensor
    positions: Tensor
    rotation: Rotation
    output: Tensor
    bias: Tensor
    mask: Tensor
    layers: list[PreparedLayer]


def _padded(condition: ARCondition, length: int) -> tuple[Tensor, Tensor]:
    missing = length - condition.text.shape[1]
    return F.pad(condition.text, (0, 0, 0, missing)), F.pad(condition.mask, (0, missing))


class TextEncoder(nn.Module):
    """Word ids (b, s), 0 where padded, to states (b, 1 + s, d) and which of them are real (b, 1 + s).

    The first state is always there, so that "no text" is a text like others.
    """

    def __init__(self, vocabulary_size: int, max_words: int, dim: int, depth: int, head_dim: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, dim)
        self.begin = nn.Parameter(torch.randn(dim) * 0.1)
        self.position = nn.Parameter(torch.randn(max_words, dim) * 0.1)
        self.blocks = nn.ModuleList(Block(dim, head_dim) for _ in range(depth))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        real = F.pad(ids > 0, (1, 0), value=True)
        x = self.words(ids) + self.position[: ids.shape[1]]
        x = torch.cat([self.begin.expand(len(x), 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x, real[:, None, None])
        return layer_norm(x), real


class ARTransformer(ModelMixin, ConfigMixin):
    """Logits of the next token, given a class, a text and the tokens before it.

    Args:
        order: "time_first" (registers) or "raster" (grid); see `TokenOrder`.
        num_frames, tokens_per_frame: of one chunk at the full budget.
        words: the vocabulary of its texts.
        classes: names of its classes.
    """

    @register_to_config
    def __init__(
        self,
        order: str = "time_first",
        num_frames: int = 5,
        tokens_per_frame: int = 64,
        levels: tuple[int, ...] = (8, 5, 5, 5),
        classes: tuple[str, ...] = (),
        words: tuple[str, ...] = (),
        max_words: int = 48,
        dim: int = 256,
        depth: int = 6,
        head_dim: int = 64,
        text_depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if dim % head_dim or head_dim % 2:
            raise ValueError(f"dim={dim} must be divisible by an even head_dim={head_dim}")
        self.token_order = TokenOrder(order, num_frames, tokens_per_frame)  # type: ignore[arg-type]  # checked there
        self.quantizer = FSQ(levels)
        self.word_tokenizer = WordTokenizer.from_words(words)
        self.text = TextEncoder(len(self.word_tokenizer), max_words, dim, text_depth, head_dim)
        self.class_table = nn.Embedding(len(classes) + 1, dim)  # the last one is "no class"
        self.start = nn.Parameter(torch.randn(dim) * 0.5)
        self.word_start = nn.Embedding(len(self.word_tokenizer), dim)
        self.ids = nn.Embedding(self.quantizer.num_ids, dim)
        self.code_in = nn.Linear(len(levels), dim)
        self.frame = nn.Embedding(num_frames, dim)
        self.place = nn.Embedding(tokens_per_frame, dim)
        layers = [ARLayer(dim, head_dim, dropout) for _ in range(depth)]
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.RMSNorm(dim)
        self.digits = nn.Linear(dim, sum(levels))
        self.joint = nn.Linear(dim, self.quantizer.num_ids, bias=False)
        self.head_dim = head_dim
        self._initialise(layers)

    def _initialise(self, layers: list[ARLayer]) -> None:
        for table in (self.ids, self.class_table, self.word_start, self.frame, self.place, self.text.words):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.zeros_(self.joint.weight)  # digits first; what they leave out is learned on top
        for layer in layers:
            for last in (layer.attn.proj, layer.cross.proj, layer.mlp.fc2):
                nn.init.normal_(last.weight, std=0.5 / math.sqrt(last.in_features * len(layers)))

    @property
    def max_len(self) -> int:
        """Tokens of a whole sequence, start token not counted."""
        return len(self.token_order)

    @apply_forward_hook
    def condition(self, class_ids: Tensor, word_ids: Tensor) -> ARCondition:
        """What the layers need of classes (b,), -1 for none, and word ids (b, s), all 0 for no text.

        Raises:
            ValueError: an id outside the tables, or more words than `max_words`.
        """
        classes, words, longest = len(self.config.classes), len(self.word_tokenizer), self.config.max_words
        if class_ids.numel() and not -1 <= int(class_ids.min()) <= int(class_ids.max()) < classes:
            raise ValueError(f"class ids must be in 0..{classes - 1}, or -1 for none")
        if word_ids.shape[1] > longest:
            raise ValueError(f"a text may have {longest} words, this one has {word_ids.shape[1]}")
        if word_ids.numel() and not 0 <= int(word_ids.min()) <= int(word_ids.max()) < words:
            raise ValueError(f"word ids must be in 0..{words - 1}")
        start = self.start + self.class_table(torch.where(class_ids < 0, classes, class_ids))
        # The words as a set join the class in the start token, which every token sees: cross-attention alone was not
        # used after 800 steps.
        there = (word_ids > 0)[..., None]
        start = start + (self.word_start(word_ids) * there).sum(1) * there.sum(1).clamp(min=1).rsqrt()
        return ARCondition(start, *self.text(word_ids))

    def forward(
        self, sequence: Tensor, condition: ARCondition, cache: KVCache | None = None, prepared: Prepared | None = None
    ) -> Tensor:
        """Logits (b, s, num_ids), float32, of the tokens that follow.

        Args:
            sequence: token ids (b, n) in `token_order`. Without a cache: the first n tokens of a clip, for the n + 1
                logits of tokens 0..n (n + 1 at most `max_len`). With one: the tokens since the last call; the first
                call is (b, 0), for the start token alone, or any prefix.
            cache: filled by the calls before; extended.
            prepared: `prepare(condition)`, to share the work between calls.
        """
        begin = 0 if cache is None else cache.length
        if prepared is None:
            prepared = self.prepare(condition)
        x = F.embedding(sequence, prepared.tokens)
        if begin == 0:
            x = torch.cat([condition.start[:, None].to(x.dtype), x], dim=1)
        stop = begin + x.shape[1]
        if stop > self.max_len:
            raise ValueError(f"a sequence has {self.max_len} tokens, {stop} were asked for")
        x = x + prepared.positions[begin:stop]
        cos, sin = (table[begin:stop] for table in prepared.rotation)
        for index, (layer, ready) in enumerate(zip(self._layers(), prepared.layers, strict=True)):
            x = layer(x, (cos, sin), prepared.mask, ready, cache, index)
        if cache is not None:
            cache.advance(stop - begin)
        return F.linear(unit(x), prepared.output, prepared.bias).float()

    @apply_forward_hook
    def prepare(self, condition: ARCondition) -> Prepared:
        """What forward needs and no token changes."""
        dtype = self.start.dtype  # of what is computed; layerwise casting stores matrices in another
        codes = self.quantizer.ids_to_codes(torch.arange(self.quantizer.num_ids, device=self.start.device))  # (ids, f)
        frame, place = (p.to(self.start.device) for p in self.token_order.places())
        # A whole id's logit is the sum of those of its digits, and one of its own.
        levels = self.quantizer.levels
        half = torch.tensor([level // 2 for level in levels], device=codes.device)
        first = torch.tensor([sum(levels[:i]) for i in range(len(levels))], device=codes.device)
        rows = (codes * half + half).round().long() + first  # (ids, f), rows of `digits`
        mask = torch.zeros(condition.mask.shape, dtype=condition.text.dtype, device=condition.mask.device)
        return Prepared(
            tokens=self.ids.weight.to(dtype) + self.code_in(codes.to(dtype)),
            positions=self.frame(frame) + self.place(place),  # of the token to come
            rotation=rotary_tables(self.max_len, self.head_dim, self.start.device),
            output=with_gain(self.joint.weight.to(dtype) + self.digits.weight.to(dtype)[rows].sum(1), self.norm),
            bias=self.digits.bias.to(dtype)[rows].sum(1),
            mask=mask.masked_fill(~condition.mask, float("-inf"))[:, None, None],
            layers=[layer.prepare(condition.text) for layer in self._layers()],
        )

    def new_cache(self, batch: int, max_len: int) -> KVCache:
        """An empty cache for `batch` sequences of up to `max_len` tokens, start token not counted."""
        weight = self.start
        heads = self.config.dim // self.head_dim
        return KVCache(len(self.blocks), batch, heads, max_len, self.head_dim, weight.device, weight.dtype)

    def _layers(self) -> list[ARLayer]:
        return [layer for layer in self.blocks if isinstance(layer, ARLayer)]
