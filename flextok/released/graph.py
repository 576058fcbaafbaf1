"""Encoder and decoder as the config states them: an ordered set of modules over a dictionary of named tensors.

The module dictionary is compiled once. Every write gets a slot of its own (a key may be overwritten), so that it is
known of each call what it depends on: nothing that changes (run once a chunk), the time alone (run once for the
whole time grid), or the noisy latents (run at every step). Calls that nothing needs (the REPA head) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flextok.loading.errors import CheckpointError


class Changes(Enum):
    """When a value changes."""

    NEVER = "once a chunk"
    WITH_TIME = "with the time alone: its first axis is the time grid"
    EVERY_STEP = "at every step"


@dataclass(frozen=True)
class Op:
    """One call: reads named values, writes one or more.

    Args:
        function: called with the values of `reads`, then those of `optional` (None where nobody gave them), then
            those of `shapes`, of which it uses the shape, or the values of those that never change. Returns a tuple
            with one value per write.
        wants_fixed: pass `fixed`, which of `shapes` never change, as a keyword.
    """

    function: Callable[..., tuple[Any, ...]]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    optional: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    wants_fixed: bool = False


@dataclass(frozen=True)
class _Call:
    """An op with its keys resolved to slots (-1: absent optional)."""

    module: str
    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    changes: Changes
    fixed: tuple[bool, ...]


class Graph:
    """A compiled module dictionary.

    Args:
        modules: name and ops of each module, in order.
        inputs: keys that the caller gives, and when their values change.
        outputs: keys that the caller wants.

    Raises:
        CheckpointError: a module reads a key that nothing wrote before it, or an output is never written.
    """

    def __init__(
        self,
        modules: Sequence[tuple[str, Sequence[Op]]],
        inputs: Mapping[str, Changes],
        outputs: Sequence[str],
    ) -> None:
        self._changes = list(inputs.values())
        self.inputs = {key: slot for slot, key in enumerate(inputs)}
        current = dict(self.inputs)
        calls = []
        for name, ops in modules:
            for op in ops:
                calls.append(self._resolve(name, op, current))
                for key, slot in zip(op.writes, calls[-1].outputs, strict=True):
                    current[key] = slot
        for key in outputs:
            if current.get(key, -1) < len(inputs):
                raise CheckpointError(f"no module writes {key!r}, which is to be the result")
        self.outputs = {key: current[key] for key in outputs}
        self.calls = self._live(calls)

    def _resolve(self, module: str, op: Op, current: Mapping[str, int]) -> _Call:
        for key in (*op.reads, *op.shapes):
            if key not in current:
                raise CheckpointError(f"module {module!r} reads {key!r}, which nothing before it has written")
        inputs = [current[key] for key in op.reads]
        optional = [current.get(key, -1) for key in op.optional]
        changes = _join([self._changes[slot] for slot in inputs + optional if slot >= 0])
        outputs = tuple(range(len(self._changes), len(self._changes) + len(op.writes)))
        self._changes += [changes] * len(op.writes)
        shapes = [current[key] for key in op.shapes]
        fixed = tuple(self._changes[slot] is Changes.NEVER for slot in shapes)
        slots = (*inputs, *optional, *shapes)
        return _Call(module, op, slots, outputs, changes, fixed)

    def _live(self, calls: Sequence[_Call]) -> tuple[_Call, ...]:
        needed = set(self.outputs.values())
        live = []
        for call in reversed(calls):
            if needed.intersection(call.outputs):
                needed.update(call.inputs)
                live.append(call)
        return tuple(reversed(live))

    @property
    def live_modules(self) -> set[str]:
        """Names of the modules that the outputs depend on."""
        return {call.module for call in self.calls}

    def depends(self, source: str, without: str | None = None) -> bool:
        """Does an output depend on the input `source` on a path that does not lead through module `without`?"""
        tainted = {self.inputs[source]}
        for call in self.calls:
            if call.module != without and tainted.intersection(call.inputs):
                tainted.update(call.outputs)
        return bool(tainted.intersection(self.outputs.values()))

    def start(self, inputs: Mapping[str, Any], reuse: GraphRun | None = None) -> GraphRun:
        """Begin a chunk.

        Args:
            inputs: values of keys that never change, and those over the time grid; leave out what does not apply.
            reuse: another chunk's run over the same time grid, whose time-only values hold here too.
        """
        run = GraphRun(self)
        if reuse is not None:
            run.values = {
                slot: value for slot, value in reuse.values.items() if self._changes[slot] is Changes.WITH_TIME
            }
        run.give(inputs)
        return run

    def changes(self, slot: int) -> Changes:
        return self._changes[slot]


class GraphRun:
    """The values of one chunk. `step` may be called once for each time of the grid, in any order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[int, Any] = {}

    def give(self, inputs: Mapping[str, Any]) -> None:
        for key, value in inputs.items():
            self.values[self.graph.inputs[key]] = value

    def step(self, inputs: Mapping[str, Any], index: int = 0) -> dict[str, Any]:
        """Run what has to be run and return the outputs.

        Args:
            inputs: values of keys that change at every step.
            index: which time of the grid this is.
        """
        self.give(inputs)
        for call in self.graph.calls:
            per_step = call.changes is Changes.EVERY_STEP
            if not per_step and all(slot in self.values for slot in call.outputs):
                continue
            arguments = [
                value[index] if per_step and value is not None and self._over_time(slot) else value
                for slot, value in ((slot, self.values.get(slot)) for slot in call.inputs)
            ]
            keywords = {"fixed": call.fixed} if call.op.wants_fixed else {}
            try:
                results = call.op.function(*arguments, **keywords)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                raise type(error)(f"module {call.module!r}: {error}") from error
            for slot, value in zip(call.outputs, results, strict=True):
                self.values[slot] = value
        return {key: self.values[slot] for key, slot in self.graph.outputs.items()}

    def _over_time(self, slot: int) -> bool:
        return slot >= 0 and self.graph.changes(slot) is Changes.WITH_TIME


def _join(changes: Sequence[Changes]) -> Changes:
    """What depends on time and on anything else has no time axis of its own, so it is run at every step."""
    kinds = set(changes)
    if kinds <= {Changes.NEVER}:
        return Changes.NEVER
    return Changes.WITH_TIME if kinds == {Changes.WITH_TIME} else Changes.EVERY_STEP
