"""`python -m flextok.bench parity DIR`: every run of a case folder against the numbers stored there.

A case folder holds a checkpoint (Hub folder or single file), io.safetensors with inputs and results, and case.json,
which says what was called, with which seeds, and how far each group of tensors may be off.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flextok.bench.expressions import guidance_expression, tensor_expression
from flextok.guidance import APGSettings
from flextok.loading.errors import first_line
from flextok.pipelines.pipeline_tokenizer import EncodedChunk
from flextok.released.load import load_released
from flextok.released.nodes.tokens import TimestepEmbedder
from flextok.released.nodes.trunk import FlexTransformer
from flextok.released.reference import ReferenceDraws, ReferencePipeline
from flextok.video.pixels import from_uint8

DEBUG = ".dbg."
SAMPLER_DEFAULTS: Mapping[str, Any] = {
    "timesteps": 50,
    "guidance_scale": 1.0,
    "perform_norm_guidance": False,
    "momentum": 0.0,
    "eta": 0.0,
    "norm_threshold": 0.6,
    "cond_type": "clean",
}
"""Of the reference's sampler (contract, section 9): what a run leaves out."""


@dataclass
class Comparison:
    """Largest error of each group, and what was wrong."""

    tolerances: Mapping[str, float]
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    """Stored results that belong to no run of the case, so were not compared."""

    def add(self, name: str, group: str, ours: Tensor, theirs: Tensor) -> None:
        self.counts[group] = self.counts.get(group, 0) + 1
        if ours.shape != theirs.shape:
            self.failures.append(f"{name}: shape {tuple(ours.shape)} instead of {tuple(theirs.shape)}")
            return
        error = float((ours.double() - theirs.double()).abs().max()) if ours.numel() else 0.0
        if error >= self.worst.get(group, (-1.0, ""))[0] or error != error:
            self.worst[group] = (error, name)
        if not error <= self.tolerances[group]:
            self.failures.append(f"{name}: error {error:.3g} exceeds {self.tolerances[group]:.3g}")

    def table(self) -> str:
        lines = [f"{'group':<16} {'tensors':>7} {'largest error':>14} {'tolerance':>10}  where"]
        for group, (error, name) in sorted(self.worst.items()):
            lines.append(f"{group:<16} {self.counts[group]:>7} {error:>14.3g} {self.tolerances[group]:>10.3g}  {name}")
        return "\n".join(lines)


class RecordedDraws(ReferenceDraws):
    """The draws that a run recorded, each in its place; from the seeded global generator where it recorded none."""

    def __init__(self, recorded: Sequence[Tensor | None]) -> None:
        self.recorded = list(recorded)

    def posterior(self, shape: Sequence[int]) -> Tensor:
        drawn = super().posterior(shape)  # always: later draws depend on it
        recorded = self.recorded.pop(0) if self.recorded else None
        noise = drawn if recorded is None else recorded
        if noise.shape != tuple(shape):
            raise ValueError(f"the recorded draw has shape {tuple(noise.shape)}, the VAE needs {tuple(shape)}")
        return noise


class Case:
    """A case folder with its checkpoint loaded for exact parity."""

    def __init__(self, folder: Path) -> None:
        self.facts = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        self.stored = load_file(folder / "io.safetensors")
        pipeline = load_released(folder, reference=True, device="cpu")
        assert isinstance(pipeline, ReferencePipeline)
        self.pipeline = pipeline
        self.seen: set[str] = set()
        self.result = Comparison({key: value for key, value in self.facts["tolerances"].items() if key != "note"})

    def run(self) -> Comparison:
        runs = self.facts["runs"]
        methods = {"tok": self.tokenize, "vel": self.velocity, "det": self.detokenize}
        self.result.failures += [f"{kind}: no such kind of run" for kind in runs if kind not in methods]
        for kind, method in methods.items():
            for run in runs.get(kind, []):
                name = f"{kind}.{run['name']}"
                try:
                    self._compare(f"{name}.", method(run))
                except (RuntimeError, ValueError, TypeError, LookupError) as error:
                    # The other runs of the case are still worth knowing.
                    self.result.failures.append(f"{name}: {type(error).__name__}: {first_line(error)}")
        if not self.result.counts:
            self.result.failures.append("nothing was compared: the case holds no results of its runs")
        return self.result

    def uncovered(self) -> list[str]:
        """Stored results that belong to no run of the case."""
        expected = {name for name, facts in self.facts["tensors"].items() if facts["group"] != "input"}
        return sorted(expected - self.seen)

    def _compare(self, prefix: str, ours: Mapping[str, Tensor]) -> None:
        for name, facts in self.facts["tensors"].items():
            if not name.startswith(prefix) or facts["group"] == "input":
                continue
            self.seen.add(name)
            key = name.removeprefix(prefix)
            value = ours.get(key, ours.get(f"{key}.chunk0"))
            if value is None:
                self.result.failures.append(f"{name}: not computed")
                continue
            theirs = self.stored[name]
            if key.startswith("dbg.") and key != "dbg.temb":
                value, theirs = (
                    value.flatten(0, -2),
                    theirs.flatten(0, -2)[: value[..., 0].numel()],
                )  # no padding rows
            self.result.add(name, facts["group"], value, theirs)

    # --- the three kinds of runs --------------------------------------------------------------------------

    def tokenize(self, run: Mapping[str, Any]) -> dict[str, Tensor]:
        video = from_uint8(self.stored[run["video"]])
        draws = [f"tok.{run['name']}.vae_eps"]
        self._replay(run, draws)
        with captured(self.pipeline.tokenizer.encoder) as debug:
            chunks = list(self.pipeline.encode_chunks(video))
        self._replay(run, draws)
        results = {"tokens": self.pipeline.tokenize(video)}
        parts: Mapping[str, Any] = {
            "latent_mean": lambda c: c.posterior.mean,
            "latent_logvar": lambda c: c.posterior.logvar,
            "latents": lambda c: c.latents,
            "prequant": lambda c: c.tokens.unquantized,
            "quant": lambda c: c.tokens.codes,
        }
        for name, part in parts.items():
            results[name] = torch.stack([part(chunk) for chunk in chunks], dim=1).flatten(0, 1)  # sample-major
        return results | {f"dbg.{key}": self._sample_major(values, chunks) for key, values in debug.items()}

    def _replay(self, run: Mapping[str, Any], draws: Sequence[str]) -> None:
        """Seed the global generator, and hand out the recorded draws of these names."""
        if run.get("vae_seed") is not None:
            torch.manual_seed(run["vae_seed"])
        self.pipeline.draws = RecordedDraws([self.stored.get(name) for name in draws])

    def _sample_major(self, values: list[Tensor], chunks: list[EncodedChunk]) -> Tensor:
        """Packed rows of chunk after chunk, (1, b s, d) each, as the reference packs them: all chunks of a sample."""
        batch = len(chunks[0].tokens.token_ids)
        return torch.stack([value[0].unflatten(0, (batch, -1)) for value in values], dim=1).flatten(0, 2)[None]

    def velocity(self, run: Mapping[str, Any]) -> dict[str, Tensor]:
        codes = tensor_expression(run["quant"], self.stored)
        prefix = f"vel.{run['name']}{DEBUG}"
        results = {"v": self._one_velocity(run, codes)}
        if any(name.startswith(prefix) for name in self.facts["tensors"]):
            # The reference's inner states have a row per token.
            self.pipeline.tokenizer.set_plain(True)
            with captured(self.pipeline.tokenizer.decoder) as debug:
                self._one_velocity(run, codes)
            self.pipeline.tokenizer.set_plain(False)
            results |= {f"dbg.{key}": values[0] for key, values in debug.items()}
            results["dbg.temb"] = results["dbg.temb"].expand(len(codes), -1)
        return results

    def _one_velocity(self, run: Mapping[str, Any], codes: Tensor) -> Tensor:
        model = self.pipeline.tokenizer
        keep_k, prefix_len = (None if run.get(k) is None else torch.tensor(run[k]) for k in ("keep_k", "prefix_len"))
        unconditional = torch.ones(len(codes), dtype=torch.bool) if run.get("uncond") else None
        with torch.no_grad():
            decoding = model.start_decoding(codes, torch.tensor([run["t"]]), keep_k, prefix_len, unconditional)
            return model.velocity(decoding, self.stored[run["x"]], 0)

    def detokenize(self, run: Mapping[str, Any]) -> dict[str, Tensor]:
        ids = tensor_expression(run["tokens"], self.stored)
        size = self._latent_size(run)
        seed = run.get("noise_seed")
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        noise = None
        if str(run.get("noise_source", "")).startswith("noise_list"):
            shape = (1, self.pipeline.tokenizer.config.pipeline.out_channels, *size)
            noise = torch.cat([torch.randn(shape, generator=generator) for _ in range(len(ids))])
        given = run.get("conditioning_frames")
        arguments = {**SAMPLER_DEFAULTS, **run.get("arguments", {})}
        apg = APGSettings(arguments["eta"], arguments["norm_threshold"], arguments["momentum"])
        order = [name for name in run.get("random_draw_order", []) if name.startswith("vae_eps")]
        self._replay(run, [f"det.{run['name']}.{name}" for name in order])
        chunks = self.pipeline.decode_chunks(
            ids,
            keep_k=run.get("num_keep_tokens_list"),
            num_inference_steps=arguments["timesteps"],
            guidance_scale=guidance_expression(arguments["guidance_scale"]),
            conditioning_frames=None if given is None else self._frames(given),
            generator=generator,
            latents=noise,
            apg=apg if arguments["perform_norm_guidance"] else None,
            condition_type=arguments["cond_type"],
            latent_size=size,
        )
        results, frames = {}, []
        for chunk in chunks:
            results[f"latents.chunk{chunk.index}"] = chunk.latents
            if chunk.given_ids is not None:
                results[f"retok.chunk{chunk.index}"] = chunk.given_ids
            frames.append(chunk.frames)
        return results | {"video": torch.cat(frames, dim=2)}

    def _latent_size(self, run: Mapping[str, Any]) -> tuple[int, int, int]:
        """Stated by the checkpoint or, for single-file ones, by the tensors of the run."""
        if self.pipeline.tokenizer.latent_size is not None:
            return self.pipeline.tokenizer.latent_size
        for name, facts in self.facts["tensors"].items():
            if name.startswith((f"det.{run['name']}.latents", f"det.{run['name']}.noise")):
                t, h, w = facts["shape"][-3:]
                return t, h, w
        raise ValueError(f"nothing states the latent size of det.{run['name']}")

    def _frames(self, expression: str) -> Tensor:
        frames = tensor_expression(expression, self.stored)
        return from_uint8(frames) if frames.dtype == torch.uint8 else frames


@contextmanager
def captured(part: torch.nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Inner states of a trunk and its time embedding while the block runs: a list of values, one per pass."""
    values: dict[str, list[Tensor]] = {}

    def keep(name: str, tensor: Tensor) -> None:
        values.setdefault(name, []).append(tensor.clone())  # blocks overwrite their residual stream

    handles = []
    for module in part.modules():
        if isinstance(module, FlexTransformer):
            first, last = module.blocks[0], module.blocks[-1]
            handles += [
                first.register_forward_pre_hook(lambda _, args: keep("packed_in", args[0])),
                first.register_forward_hook(lambda _, __, out: keep("block0_out", out)),
                last.register_forward_hook(lambda _, __, out: keep("packed_out", out)),
            ]
        elif isinstance(module, TimestepEmbedder):
            handles.append(module.register_forward_hook(lambda _, __, out: keep("temb", out)))
    try:
        yield values
    finally:
        for handle in handles:
            handle.remove()


def check_case(folder: Path) -> Comparison:
    """Run a case folder. Deterministic: the global generator is seeded as the case says before each run."""
    case = Case(folder)
    result = case.run()
    result.uncovered = case.uncovered()
    return result


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m flextok.bench parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="case folder: case.json, io.safetensors and a checkpoint")
    folder = parser.parse_args(argv).folder
    try:
        result = check_case(folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        print(f"{folder}: {first_line(error)}")
        return 2
    print(result.table())
    if result.uncovered:
        print(f"not compared, since no run of the case made them: {', '.join(result.uncovered)}")
    for failure in result.failures:
        print(f"FAILED {failure}")
    return 1 if result.failures else 0
