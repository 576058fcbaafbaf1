"""Command line: `python -m flextok reconstruct clip.mp4 --k 1 4 16 64 --out DIR`, `generate` and `info`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Reconstruct:
    """Encode a video and decode it from the first k tokens of each latent frame, for every k asked for."""

    video: tyro.conf.Positional[Path]
    k: tuple[int, ...] = (1, 4, 16, 64)
    """Token budgets, tokens per latent frame."""
    out: Path = Path("reconstruction")
    """Folder for one mp4 per budget, side_by_side.mp4 and metrics.json."""
    model: str = "embedded"
    start_s: float = 0.0
    """Where the clip begins in the video, seconds."""
    max_chunks: int = 1
    """Chunks of 17 frames that share one frame: 1 is 17 frames, 5 are 81."""
    steps: int | None = None
    """Sampling steps; the model's default if not given."""
    guidance: float | None = None
    """Guidance scale; the model's default if not given."""
    seed: int = 0

    def run(self) -> None:
        check_seed(self.seed)
        if not self.k:
            raise ValueError("--k names no budget")
        from flextok.api import load_tokenizer
        from flextok.reconstruction import budgets_of, reconstruct
        from flextok.video.pixels import to_uint8
        from flextok.video.strip import side_by_side
        from flextok.video.write import write_video

        pipe = load_tokenizer(self.model)
        if pipe.info.kind == "grid":
            allowed: Collection[int] = pipe.info.token_budgets
            said = ", ".join(map(str, allowed))
        else:
            allowed, said = range(1, pipe.info.num_registers + 1), f"1..{pipe.info.num_registers}"
        if wrong := [k for k in self.k if k not in allowed]:
            raise ValueError(f"{self.model} decodes budgets of {said} tokens, not {wrong[0]}")
        clip = pipe.read(self.video, start_s=self.start_s, max_chunks=self.max_chunks)
        self.out.mkdir(parents=True, exist_ok=True)
        shown = [("original", to_uint8(clip.video[0, :, : clip.num_real]))]
        rows = []
        for result in reconstruct(pipe, clip, budgets_of(self.k, self.seed), self.steps, self.guidance):
            frames = to_uint8(result.frames[0])
            write_video(frames, self.out / f"k{result.keep_k:03d}.mp4", clip.fps)
            shown.append((result.label, frames))
            row = {name: value for name, value in asdict(result).items() if name != "frames"}
            rows.append({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
            print(f"k = {result.keep_k:3d}  {result.num_tokens:5d} tokens  {result.num_bytes:5d} bytes  "
                  f"PSNR {result.psnr_db:5.2f} dB  SSIM {result.ssim:.3f}  {result.seconds:.2f} s")  # fmt: skip
        write_video(side_by_side(shown), self.out / "side_by_side.mp4", clip.fps)
        about = {"model": pipe.info.id, "frames": clip.num_real, "fps": clip.fps, "seed": self.seed}
        (self.out / "metrics.json").write_text(json.dumps({**about, "budgets": rows}, indent=1) + "\n")
        print(f"written to {self.out}")


@dataclass(frozen=True)
class Generate:
    """Generate a video from one of the actions or from a text."""

    action: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """One of the actions, e.g. bounces."""
    prompt: str | None = None
    """Or a text; actions chained in it follow one another in a long video."""
    k: int | None = None
    """Token budget, tokens per latent frame; 8 if not given, and all of them for a grid."""
    frames: int = 17
    """17 + 16 n: each 16 more are one more chunk."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("generated.mp4")
    model: str = "embedded-class"
    guidance: float | None = None
    """Guidance scale of the tokens; the model's default if not given."""
    temperature: float = 1.0
    steps: int | None = None
    """Sampling steps of the decoder; the model's default if not given."""
    seed: int = 0

    def run(self) -> None:
        check_seed(self.seed)
        import time

        import torch

        from flextok.generators import load_generator
        from flextok.video.pixels import to_uint8
        from flextok.video.write import check_target, write_video

        check_target(self.out)  # before the work, not after it
        pipe = load_generator(self.model)
        if self.prompt is not None and (unknown := pipe.unknown_words(self.prompt)):
            print(f"note: this small model does not know: {', '.join(unknown)}", file=sys.stderr)
        started = time.perf_counter()
        result = pipe(
            self.prompt,
            self.action,
            keep_k=self.k,
            num_frames=self.frames,
            guidance_scale=self.guidance,
            temperature=self.temperature,
            num_inference_steps=self.steps,
            generator=torch.Generator().manual_seed(self.seed),
        )
        seconds = time.perf_counter() - started
        write_video(to_uint8(result.frames[0]), self.out, pipe.info.fps)
        print(f"{self.out}: {result.frames.shape[2]} frames from {result.token_ids[0].numel()} tokens, {seconds:.2f} s")


@dataclass(frozen=True)
class Info:
    """List the tokenizers and generators that can be loaded by name, and which tokenizers run on this machine."""

    def run(self) -> None:
        from flextok.availability import availability
        from flextok.generators import EMBEDDED_GENERATORS
        from flextok.loading.registry import list_models

        print(
            f"{'id':40s} {'kind':9s} {'pixels':>6s} {'K':>4s} {'params':>8s} {'memory':>8s}  {'licence':21s} runs here"
        )
        for entry in list_models():
            found = availability(entry)
            print(f"{entry.id:40s} {entry.kind:9s} {entry.pixels:6d} {entry.num_registers:4d} "
                  f"{entry.parameters_m:6.1f} M {entry.memory_gib:4.1f} GiB  {entry.licence:21s} "
                  f"{f'yes, on {found.device}' if found.runs else f'no: {found.reason}'}")  # fmt: skip
        print(f"\n{'generator':40s} writes tokens of")
        for name, (_, tokenizer) in EMBEDDED_GENERATORS.items():
            print(f"{name:40s} {tokenizer}")


Command = (
    Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise ValueError(f"The seed must be in 0..{2**63 - 1}, not {seed}.")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what the user can mend is one sentence on stderr and exit status 2."""
    command = tyro.cli(Command, args=arguments, prog="python -m flextok")  # type: ignore[arg-type]
    try:
        command.run()
    except OSError as error:
        print(f"error: {error if error.filename is None else f'{error.filename}: {error.strerror}'}", file=sys.stderr)
        return 2
    except ValueError as error:  # VideoError and CheckpointError are ValueErrors, made for users
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
