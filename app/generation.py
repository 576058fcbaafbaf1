"""Generated clips for the page: the service behind Generate and Long video, and what the player shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.components.payload import Panel, Payload, Result
from app.components.player import panel_budgets, psnr_db, sprite
from app.limits import MAX_GENERATED_CHUNKS, MAX_SEED
from app.refusals import refusal, require_number, told
from app.store import EMBEDDED_GRID, ModelStore
from flextok.loading.registry import list_models
from flextok.toybox.actions import ACTIONS
from flextok.toybox.spec import FPS

if TYPE_CHECKING:
    from flextok.pipelines.pipeline_generator import VideoGeneratorPipeline

BUDGETS = (1, 2, 4, 8, 16, 32, 64)
GRID_TOKENS = next(entry.num_registers for entry in list_models() if entry.id == EMBEDDED_GRID)
"""Tokens per latent frame of the grid, whatever the clip."""
MAX_PROMPT = 400
SCALE = 4
"""A long video is enlarged this much."""
BAR = 12
"""Height of the bar under a long video, in pixels of the enlarged one."""
CHUNK_COLORS = ((96, 165, 250), (251, 191, 36))


@dataclass(frozen=True)
class GenerateRequest:
    """What a visitor asks for; the action counts where there is no prompt. `check` names what will not do."""

    action: str
    prompt: str = ""
    keep_k: int = 16
    seed: int = 0
    guidance: float = 3.0
    temperature: float = 1.0
    chunks: int = 1

    def check(self) -> None:
        if not self.prompt.strip() and self.action not in ACTIONS:
            raise refusal(f"Choose one of the actions or write a prompt; {self.action!s:.40} is neither.")
        if len(self.prompt) > MAX_PROMPT:
            raise refusal(f"The prompt has {len(self.prompt)} characters; at most {MAX_PROMPT} are read.")
        require_number("Tokens per latent frame", self.keep_k, 1, BUDGETS[-1], whole=True)
        require_number("Seed", self.seed, 0, MAX_SEED, whole=True)
        require_number("Guidance", self.guidance, 0, 20)
        require_number("Temperature", self.temperature, 0, 3)
        require_number("Chunks", self.chunks, 1, MAX_GENERATED_CHUNKS, whole=True)

    def wanted(self) -> dict[str, Any]:
        """Arguments of the pipeline."""
        prompt = self.prompt.strip()
        return {"prompt": prompt} if prompt else {"action": self.action}

    @property
    def said(self) -> str:
        return self.prompt.strip() or self.action


@dataclass(frozen=True)
class Generated:
    """One clip, uint8 (T, H, W, 3), and the tokens it took."""

    keep_k: int
    frames: np.ndarray
    tokens: int
    bits: int
    """Of a token."""


class GeneratorService:
    """What the tabs ask of the embedded generators; each is loaded when it is first asked for."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store

    def pipe(self, name: str = "embedded-class") -> VideoGeneratorPipeline:
        return self._store.generator(name)

    def generate(self, request: GenerateRequest) -> Iterator[Generated]:
        """One sequence of tokens, decoded at every budget up to the one asked for as soon as its tokens are there.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        request.check()
        with told():
            import torch

            from flextok.video.pixels import to_uint8

            budgets = [*(k for k in BUDGETS if k < request.keep_k), int(request.keep_k)]
            pipe = self.pipe()
            for result in pipe.refine(
                **request.wanted(),
                budgets=budgets,
                guidance_scale=request.guidance,
                temperature=request.temperature,
                generator=torch.Generator().manual_seed(int(request.seed)),
            ):
                ids = result.token_ids[0]
                yield Generated(ids.shape[1], to_uint8(result.frames)[0], ids.numel(), bits_of(pipe))

    def grid(self, request: GenerateRequest) -> Generated:
        """The same from the grid's generator, which writes all tokens of every latent frame whatever the budget.

        Raises:
            gr.Error: as `generate`.
        """
        request.check()
        with told():
            import torch

            from flextok.video.pixels import to_uint8

            pipe = self.pipe("embedded-grid-class")
            result = pipe(
                **request.wanted(),
                guidance_scale=request.guidance,
                temperature=request.temperature,
                generator=torch.Generator().manual_seed(int(request.seed)),
            )
            ids = result.token_ids[0]
            return Generated(ids.shape[1], to_uint8(result.frames)[0], ids.numel(), bits_of(pipe))

    def long_video(self, request: GenerateRequest) -> Iterator[Generated]:
        """The video so far, after every chunk.

        Raises:
            gr.Error: as `generate`.
        """
        request.check()
        with told():
            import torch

            from flextok.video.pixels import to_uint8

            pipe, so_far, tokens = self.pipe(), list[np.ndarray](), 0
            for chunk in pipe.stream(
                **request.wanted(),
                keep_k=int(request.keep_k),
                num_frames=1 + 16 * int(request.chunks),
                guidance_scale=request.guidance,
                temperature=request.temperature,
                generator=torch.Generator().manual_seed(int(request.seed)),
            ):
                so_far.append(to_uint8(chunk.frames)[0])
                tokens += chunk.token_ids[0].numel()
                yield Generated(int(request.keep_k), np.concatenate(so_far), tokens, bits_of(pipe))

    def unknown(self, prompt: str) -> list[str]:
        """Words of a prompt that the model has never seen."""
        return self.pipe().unknown_words(prompt) if prompt.strip() else []


def bits_of(pipe: VideoGeneratorPipeline) -> int:
    """Bits of one of its tokens."""
    return (pipe.decoder.info.num_ids - 1).bit_length()


def generated_payload(results: list[Generated], said: str, grid: Generated | None = None) -> dict[str, Any]:
    """What the player shows of one sequence at several budgets; the finest stands where an original would.

    Args:
        grid: what the grid's generator made of the same request, once it is there.
    """
    finest = results[-1]
    rows = []
    for result in results:
        quality = None if result is finest else round(psnr_db(result.frames, finest.frames), 2)
        words = [] if quality is None else [f"PSNR {quality:.1f} dB to the finest"]
        rows.append(
            Result(
                k=result.keep_k,
                tokens=result.tokens,
                bytes=-(-result.tokens * result.bits // 8),
                psnr=quality,
                frames=len(result.frames),
                sprite=sprite(result.frames),
                lines=[f"{result.tokens} tokens", *words],
            )
        )
    beside = [] if grid is None else [grid]
    return Payload(
        title=said,
        fps=FPS,
        num_frames=len(finest.frames),
        size=finest.frames.shape[1],
        source=rows[-1].sprite,
        source_title=f"Finest: k = {finest.keep_k}",
        source_lines=[said[:80]],
        bits_per_token=finest.bits,
        latent_frames=finest.tokens // finest.keep_k,
        max_k=max(finest.keep_k, 2),
        shown=panel_budgets([result.keep_k for result in results[:-1]]),
        registers=rows,
        extra=[
            Panel(
                "generated-grid",
                "The 3D grid's generator",
                [f"{other.tokens} tokens, no fewer", "a network of the same size"],
                sprite(other.frames),
                len(other.frames),
            )
            for other in beside
        ],
        views={
            "wipe": "Wipe: finest | fewer tokens",
            "flip": "Fewer tokens (hold Space: finest)",
            "difference": "Difference to the finest",
        },
        note="Every panel is the same sequence of tokens, stopped earlier or later.",
    ).to_json()


def with_chunk_bar(frames: np.ndarray, total: int) -> np.ndarray:
    """Frames (T, H, W, 3), enlarged, over a bar that fills as they play, its colour changing where a chunk begins.

    Args:
        total: frames of the whole video, which the bar stands for.
    """
    from flextok.video.strip import enlarge

    frames = enlarge(frames, SCALE)
    count, _, width, _ = frames.shape
    bar = np.full((count, BAR, width, 3), 40, np.uint8)
    for column in range(width):
        frame = column * total // width  # the frame of the whole video that this column stands for
        bar[min(frame, count) :, :, column] = CHUNK_COLORS[max(frame - 1, 0) // 16 % len(CHUNK_COLORS)]
    return np.concatenate([frames, bar], axis=1)
