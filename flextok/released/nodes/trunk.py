"""Modules around the transformer: packing, the trunk, unpacking, heads (contract, 7.10-7.12)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from flextok.models.layers.transformer import Block, layer_norm
from flextok.released.graph import Op
from flextok.released.layout import Layout, PackedModulation, build_layout, mask_rule
from flextok.released.masks import CROSS_FRAME_RULES
from flextok.released.nodes.base import DtypeOverride, Node, autocast_override, checked_patch, refuse
from flextok.released.nodes.tokens import unpatchify

MaskMode = Literal["full", "causal", "time_block_causal", "time_block_causal_last", "flexible_time_block_causal_last"]


class BlockWiseSequenceInterleavePacker(Node):
    """Packs lists (b, t, ..., d) to one sequence, frame by frame; mask, shapes and order are one `Layout`."""

    TRAINING_ONLY: ClassVar = frozenset({"compile_block_mask", "max_seq_len", "pad_to_multiple"})
    # max_seq_len and pad_to_multiple only set how many padding rows the reference adds, which nothing attends to.

    def __init__(
        self,
        *,
        input_list_read_keys: tuple[str, ...],
        packed_seq_write_key: str,
        block_mask_write_key: str,
        inner_packed_shapes_write_key: str,
        outer_packed_shapes_write_key: str,
        mask_mode: MaskMode = "full",
        emb_packing_fn_write_key: str | None = None,
        per_subseq_embs: bool = False,
        cross_timestep_attention_config: dict[str, str] | None = None,
        repa_block_mask_write_key: str | None = None,
        repa_mask_mode: MaskMode = "time_block_causal",
        repa_patch_index: int = 0,
    ) -> None:
        super().__init__()
        if not input_list_read_keys:
            refuse(self, "input_list_read_keys", input_list_read_keys, "there is nothing to pack")
        if emb_packing_fn_write_key is not None and not per_subseq_embs:
            refuse(self, "per_subseq_embs", per_subseq_embs, "emb_packing_fn_write_key needs it to be true")
        flexible = mask_mode == "flexible_time_block_causal_last"
        if flexible:
            rules = cross_timestep_attention_config or {}
            if set(rules) != set(CROSS_FRAME_RULES) or any(rules[k] not in v for k, v in CROSS_FRAME_RULES.items()):
                refuse(
                    self,
                    "cross_timestep_attention_config",
                    rules,
                    f"mask_mode {mask_mode!r} needs {CROSS_FRAME_RULES}",
                )
        # The REPA mask serves a training-only head, which is not run.
        del repa_mask_mode, repa_patch_index
        self.reads = input_list_read_keys
        self.rule = mask_rule(mask_mode, cross_timestep_attention_config if flexible else None)
        self.plain = False
        self.packed_key = packed_seq_write_key
        keys = (
            inner_packed_shapes_write_key,
            block_mask_write_key,
            outer_packed_shapes_write_key,
            emb_packing_fn_write_key,
            repa_block_mask_write_key,
        )
        self.layout_keys = tuple(dict.fromkeys(key for key in keys if key is not None))

    def ops(self) -> list[Op]:
        # The layout depends on what never changes (and so can be merged) and on the shapes of the rest.
        layout_key = self.layout_keys[0]
        return [
            Op(self._layout, (), self.layout_keys, shapes=self.reads, wants_fixed=True),
            Op(lambda layout, *lists: (layout.pack(lists),), (layout_key, *self.reads), (self.packed_key,)),
        ]

    def _layout(self, *lists: Tensor, fixed: tuple[bool, ...]) -> tuple[Layout, ...]:
        layout = build_layout(lists, fixed, self.rule, self.plain)
        return (layout,) * len(self.layout_keys)


class SequenceInterleavedUnpacker(Node):
    """The inverse of the packer: one list per key."""

    def __init__(
        self,
        *,
        packed_seq_read_key: str,
        inner_seq_write_keys: tuple[str, ...],
        inner_packed_shapes_read_key: str,
        outer_packed_shapes_read_key: str,
    ) -> None:
        super().__init__()
        self.reads = (packed_seq_read_key, inner_packed_shapes_read_key)
        self.writes = inner_seq_write_keys
        del outer_packed_shapes_read_key  # the layout under the inner key says it all

    def ops(self) -> list[Op]:
        # One op per list, so that lists nobody reads are not unpacked. All read the packed sequence before any write.
        return [
            Op(lambda packed, layout, i=index: (layout.unpack(packed, i),), self.reads, (key,))
            for index, key in enumerate(self.writes)
        ]


class FlexTransformer(Node):
    """Transformer over a packed sequence, with adaLN where a time embedding is read."""

    TRAINING_ONLY: ClassVar = frozenset(
        {"drop", "drop_path_rate", "use_act_checkpoint", "weight_init_style", "zero_init_query_proj"}
    )

    def __init__(
        self,
        *,
        input_seq_read_key: str,
        output_seq_write_key: str,
        dim: int = 768,
        depth: int = 12,
        head_dim: int = 64,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        proj_bias: bool = False,
        mlp_bias: bool = False,
        gated_mlp: bool = True,
        qk_norm: bool = True,
        block_mask_read_key: str | None = None,
        score_mod_read_key: str | None = None,
        adaLN_emb_read_key: str | None = None,
        adaLN_packing_fn_read_key: str | None = None,
        adaLN_expansion: int = 1,
        rope_forward_read_key: str | None = None,
        intermediate_layer_write_key: str | None = None,
        intermediate_layers: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if block_mask_read_key is None:
            refuse(
                self,
                "block_mask_read_key",
                None,
                "without a mask the samples of a batch would see each other",
            )
        for name, value in {
            "score_mod_read_key": score_mod_read_key,
            "rope_forward_read_key": rope_forward_read_key,
        }.items():
            if value is not None:
                refuse(self, name, value, "no known module writes such a function")
        if adaLN_emb_read_key is not None and adaLN_packing_fn_read_key is None and adaLN_expansion != 1:
            refuse(self, "adaLN_packing_fn_read_key", None, f"adaLN_expansion={adaLN_expansion} needs one")
        self.seq_key, self.out_key, self.mask_key = (
            input_seq_read_key,
            output_seq_write_key,
            block_mask_read_key or "",
        )
        self.time_key, self.packing_key = adaLN_emb_read_key, adaLN_packing_fn_read_key
        self.expansion = adaLN_expansion
        self.intermediate_key, self.intermediate_layers = intermediate_layer_write_key, intermediate_layers
        self.blocks = nn.ModuleList(
            Block(
                dim,
                head_dim,
                mlp_ratio,
                modulated=adaLN_emb_read_key is not None,
                num_modulations=adaLN_expansion,
                gated_mlp=gated_mlp,
                qk_norm=qk_norm,
                qkv_bias=qkv_bias,
                proj_bias=proj_bias,
                mlp_bias=mlp_bias,
            )
            for _ in range(depth)
        )

    def ops(self) -> list[Op]:
        reads: tuple[str, ...] = (self.seq_key, self.mask_key)
        ops = []
        if self.time_key is not None:
            table_key = f"{self.out_key}/modulation"
            packing = () if self.packing_key is None else (self.packing_key,)
            ops.append(Op(self._modulation, (self.time_key,), (table_key,)))
            reads = (*reads, table_key, *packing)
        ops.append(Op(self._run, reads, (self.out_key,)))
        if self.intermediate_key is not None:
            # Read by the REPA head alone, so this op is normally left out; it runs on its own where it is needed.
            ops.insert(-1, Op(self._intermediate, reads, (self.intermediate_key,)))
        return ops

    def _modulation(self, embedding: Tensor) -> tuple[Tensor]:
        """Time embeddings (n, d) to the vectors of all blocks: (n, depth, lists, 6, d), 1 added to the scales."""
        tables = []
        for block in self.blocks:
            activation, linear = cast(Block, block).adaLN_modulation
            vectors = linear(activation(embedding).to(linear.weight.dtype)).float()
            tables.append(vectors.unflatten(-1, (self.expansion, 6, -1)).to(embedding.device))
        table = torch.stack(tables, dim=1)
        table[:, :, :, 3] += 1
        table[:, :, :, 5] += 1
        return (table,)

    def _run(self, x: Tensor, layout: Layout, table: Tensor | None = None, *_packing: Layout) -> tuple[Tensor]:
        for output in self._outputs(x, layout, table):
            x = output
        return (x,)

    def _intermediate(self, x: Tensor, layout: Layout, table: Tensor | None = None, *_packing: Layout) -> tuple[Any]:
        last = max(self.intermediate_layers) + 1
        outputs = [output.clone() for output in islice(self._outputs(x, layout, table), last)]
        wanted = [outputs[i] for i in self.intermediate_layers]
        return (wanted[0] if len(wanted) == 1 else wanted,)

    def _outputs(self, x: Tensor, layout: Layout, table: Tensor | None) -> Iterator[Tensor]:
        """Output of each block; the same tensor all along where adaLN adds in place."""
        if table is not None:
            if self.packing_key is None:
                table = table.expand(-1, len(layout.places), -1, -1)
            elif len(layout.places) != self.expansion:
                raise ValueError(f"adaLN_expansion={self.expansion} must equal the {len(layout.places)} packed lists")
            x = x.clone()
        for index, block in enumerate(self.blocks):
            x = block(x, layout.attend, None if table is None else PackedModulation(layout, table[index]))
            yield x


class LinearHead(Node):
    """LayerNorm, adaLN where a time embedding is read, linear layer."""

    TRAINING_ONLY: ClassVar = frozenset({"weight_init_style"})

    def __init__(
        self,
        *,
        read_key: str,
        write_key: str,
        dim: int,
        dim_out: int,
        use_mup_readout: bool,
        norm_layer: Literal["default"] | None = "default",
        dtype_override: DtypeOverride | None = None,
        adaLN_emb_read_key: str | None = None,
        adaLN_packing_fn_read_key: str | None = None,
        adaLN_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        super().__init__()
        if adaLN_packing_fn_read_key is not None:
            refuse(
                self,
                "adaLN_packing_fn_read_key",
                adaLN_packing_fn_read_key,
                "heads modulate a list as a whole",
            )
        self.read_key, self.write_key, self.time_key = read_key, write_key, adaLN_emb_read_key
        if use_mup_readout:
            self.unsupported_when_used = "use_mup_readout=True cannot run in the reference either"
        self.normed, self.dtype_override = norm_layer is not None, dtype_override
        self.proj = nn.Linear(dim, dim_out, bias=proj_bias)
        if adaLN_emb_read_key is not None:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim, bias=adaLN_bias))

    def ops(self) -> list[Op]:
        reads: tuple[str, ...] = (self.read_key,)
        ops = []
        if self.time_key is not None:
            table_key = f"{self.write_key}/modulation"
            ops.append(Op(self._modulation, (self.time_key,), (table_key,)))
            reads = (*reads, table_key)
        return [*ops, Op(self, reads, (self.write_key,))]

    def _modulation(self, embedding: Tensor) -> tuple[Tensor]:
        """Time embeddings (n, d) to shift and scale: (n, 2, d)."""
        return (self.adaLN_modulation(embedding).float().unflatten(-1, (2, -1)),)

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> tuple[Tensor]:
        if self.normed:
            x = layer_norm(x)
        if modulation is not None:
            shift, scale = modulation.unbind(-2)
            x = x * (1 + scale) + shift
        with autocast_override(self.dtype_override, x):
            return (self.proj(x.to(self.proj.weight.dtype)),)


class ToPatchesLinearHead(LinearHead):
    """A linear head whose output is un-patched: (b, t, h, w, d) to (b, t pt, h ph, w pw, c)."""

    def __init__(
        self,
        *,
        read_key: str,
        write_key: str,
        dim: int,
        channels_out: int,
        patch_sizes: tuple[int, ...],
        use_mup_readout: bool,
        norm_layer: Literal["default"] | None = "default",
        dtype_override: DtypeOverride | None = None,
        adaLN_emb_read_key: str | None = None,
        adaLN_packing_fn_read_key: str | None = None,
        adaLN_bias: bool = True,
        proj_bias: bool = True,
    ) -> None:
        patch = checked_patch(self, patch_sizes)
        super().__init__(
            read_key=read_key,
            write_key=write_key,
            dim=dim,
            dim_out=channels_out * math.prod(patch),
            use_mup_readout=use_mup_readout,
            norm_layer=norm_layer,
            dtype_override=dtype_override,
            adaLN_emb_read_key=adaLN_emb_read_key,
            adaLN_packing_fn_read_key=adaLN_packing_fn_read_key,
            adaLN_bias=adaLN_bias,
            proj_bias=proj_bias,
        )
        self.patch = patch

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> tuple[Tensor]:
        return (unpatchify(super().forward(x, modulation)[0], self.patch),)


class TransformerHead(Node):
    """The REPA head of training: its weights are recognised, its result is never computed."""

    unsupported_when_used = "the result of this training-only head is read by another module"

    TRAINING_ONLY: ClassVar = frozenset(
        {
            "drop",
            "drop_path_rate",
            "use_act_checkpoint",
            "weight_init_style",
            "zero_init_query_proj",
            "act_layer",
            "norm_layer",
        }
    )

    def __init__(
        self,
        *,
        read_key: str,
        write_key: str,
        dim: int,
        dim_out: int,
        depth: int,
        head_dim: int = 64,
        use_mup_readout: bool = False,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        proj_bias: bool = False,
        mlp_bias: bool = False,
        gated_mlp: bool = True,
        qk_norm: bool = True,
        block_mask_read_key: str | None = None,
    ) -> None:
        super().__init__()
        del use_mup_readout
        self.reads = (read_key,) + (() if block_mask_read_key is None else (block_mask_read_key,))
        self.writes = (write_key,)
        self.transformer = nn.Module()
        self.transformer.blocks = nn.ModuleList(
            Block(
                dim,
                head_dim,
                mlp_ratio,
                gated_mlp=gated_mlp,
                qk_norm=qk_norm,
                qkv_bias=qkv_bias,
                proj_bias=proj_bias,
                mlp_bias=mlp_bias,
            )
            for _ in range(depth)
        )
        self.out_proj = nn.Linear(dim, dim_out, bias=proj_bias)

    def ops(self) -> list[Op]:
        return [Op(self._never, self.reads, self.writes)]

    def _never(self, *_inputs: Any) -> tuple[Any]:
        raise AssertionError("unreachable: a model that reads this result is refused")
