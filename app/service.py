"""The only door from the page to the library: decodes and tokenizes clips, turns problems into sentences."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app import gpu_runs, uploads
from app.limits import MAX_GUIDANCE, MAX_LATENT_FRAMES, MAX_STEPS
from app.memory import give_back
from app.model_store import EMBEDDED, EMBEDDED_GRID, ModelStore, budgets, decoded_budgets, refuse_on_zero_gpu
from app.refusals import told
from app.request import Request
from app.shipped import EXAMPLES
from flextok.loading.registry import ModelEntry
from flextok.tokens.clip import ClipTokens, TokenError, rows_of

if TYPE_CHECKING:
    import numpy as np

    from flextok.reconstruction import Reconstruction
    from flextok.video.clip import Clip

NUM_SEEDS = 4
CACHED_VIDEOS = 32
"""Decoded clips kept, so that the unedited one beside an edit, a download or a link opened twice costs nothing."""


@dataclass
class Progress:
    """What is there so far of one request; the service fills it in and yields it after every result."""

    clip: Clip
    stage: str = ""
    sweep: list[Reconstruction] = field(default_factory=list)
    """Registers, budgets ascending."""
    coarser_grid: list[Reconstruction] = field(default_factory=list)
    """The grid with fewer cells, for all frames."""
    shorter_grid: list[tuple[int, Reconstruction]] = field(default_factory=list)
    """The grid with all its cells, for as many frames as the tokens of a register budget afford."""
    seconds: float = 0.0
    done: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """Tells a viewer that a new request has begun."""


class VideoService(ModelStore):
    """What the tabs and the endpoints ask of the embedded register tokenizer, its 3D-grid baseline and other models."""

    def __init__(self, local: Sequence[str] = ()) -> None:
        super().__init__(local)
        self._videos: OrderedDict[ClipTokens, np.ndarray] = OrderedDict()

    def cost(self, model: str, also_k: int | None, steps: int, guidance: float) -> str:
        """What `reconstruct` would cost with these settings, in one sentence; empty where nothing is rationed."""
        entry = self.entry(model)
        tflop = gpu_runs.work_tflop(entry, 17, decoded_budgets(entry, also_k), 1, steps, guidance)
        return gpu_runs.cost_line(entry, tflop)

    @staticmethod
    def example_paths() -> list[Path]:
        return sorted(EXAMPLES.glob("*.mp4"))

    def reconstruct(self, request: Request) -> Iterator[Progress]:
        """Reconstruct a clip at every budget, coarsest first, then with the grid at equal tokens.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(request.model)
        request.check(entry)
        started = time.perf_counter()
        with told():
            pipe = self.model(entry.id)
            from flextok.reconstruction import sweep

            clip = uploads.read_clip(request, pipe)
            progress = Progress(clip, "clip read")
            yield progress
            steps = request.steps or entry.steps
            guidance = entry.guidance if request.guidance is None else request.guidance
            if entry.source == "embedded":
                results = sweep(pipe, clip, budgets(entry, request.also_k), steps, guidance, request.seed)
            else:
                wanted = decoded_budgets(entry, request.also_k)
                order = gpu_runs.make_order(entry, clip, wanted, [request.seed], steps, guidance)
                results = gpu_runs.run_order(order, clip)
            for result in results:
                progress.sweep.append(result)
                progress.stage = f"decoded k = {result.keep_k}"
                yield progress
            if entry.id == EMBEDDED:  # the only model with a grid that was trained beside it
                yield from self._add_grids(progress, steps, request.seed)
            progress.seconds, progress.done = time.perf_counter() - started, True
            give_back()
            yield progress

    def seeds(self, request: Request, keep_k: int | None) -> list[Reconstruction]:
        """One budget of a clip, decoded with `NUM_SEEDS` seeds from the request's on.

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(request.model)
        if keep_k is None:  # comes from the page, whatever its type says
            raise gr.Error("Choose a budget first.", print_exception=False)
        replace(request, also_k=keep_k).check(entry)
        with told():
            pipe = self.model(entry.id)
            from flextok.reconstruction import several_seeds

            clip = uploads.read_clip(request, pipe)
            seeds = [int(request.seed) + i for i in range(NUM_SEEDS)]
            guidance = entry.guidance if request.guidance is None else request.guidance
            steps = request.steps or entry.steps
            if entry.source == "embedded":
                return several_seeds(pipe, clip, int(keep_k), seeds, steps, guidance)
            order = gpu_runs.make_order(entry, clip, [int(keep_k)], seeds, steps, guidance)
            return list(gpu_runs.run_order(order, clip))

    # --- tokens ---------------------------------------------------------------------------------------------

    def tokenize(self, request: Request) -> tuple[ClipTokens, np.ndarray]:
        """All tokens of a clip, with the settings to decode them, and its frames, uint8 (T, H, W, 3).

        Raises:
            gr.Error: with one sentence for whatever is wrong with the request.
        """
        entry = self.entry(request.model)
        request.check(entry)
        refuse_on_zero_gpu(entry)
        with told():
            pipe = self.model(entry.id)
            from flextok.video.pixels import to_uint8

            clip = uploads.read_clip(request, pipe)
            tokens = ClipTokens(
                ids=rows_of(pipe.tokenize(clip.video)[0].cpu().numpy()),
                num_ids=pipe.info.num_ids,
                model=entry.id,
                fingerprint=pipe.fingerprint,
                num_frames=clip.num_real,
                fps=float(clip.fps),
                steps=int(request.steps or entry.steps),
                guidance=float(entry.guidance if request.guidance is None else request.guidance),
                seed=int(request.seed),
            )
            return tokens, to_uint8(clip.video[0, :, : clip.num_real])

    def preview(self, request: Request) -> tuple[str, str, np.ndarray]:
        """`uploads.preview` of a request that passes its checks; needs no model."""
        request.check(self.entry(request.model))
        return uploads.preview(request)

    def picture(self, path: str | None, model_id: str) -> np.ndarray:
        """A picture, or the first frame of a video, at a model's size: uint8 (H, W, 3)."""
        return uploads.first_picture(path, self.model(self.entry(model_id).id).info.height)

    def levels(self, model_id: str) -> tuple[int, ...]:
        """Levels of each dimension of a model's codes."""
        return self.model(self.entry(model_id).id).quantizer.levels

    def decode(self, tokens: ClipTokens, keep_k: int | None = None) -> np.ndarray:
        """The video of the first keep_k tokens of each latent frame, uint8 (T, H, W, 3).

        Raises:
            gr.Error: the tokens belong to other weights or do not fit the model; says what is the matter.
        """
        entry = self.entry(tokens.model)
        refuse_on_zero_gpu(entry)
        with told():
            wanted = tokens if keep_k is None else tokens.prefix(keep_k)
            if wanted in self._videos:
                self._videos.move_to_end(wanted)
                return self._videos[wanted]
            pipe = self.model(entry.id)
            check_weights(tokens, pipe.fingerprint, pipe.info.num_ids, entry)
            video = self._decoded(wanted)
        self._videos[wanted] = video
        give_back()
        while len(self._videos) > CACHED_VIDEOS:
            self._videos.popitem(last=False)
        return video

    def decode_from(self, tokens: ClipTokens, keep_k: int, first_frame: np.ndarray) -> np.ndarray:
        """Decode a prefix of tokens into a video that begins with a given frame, uint8 (H, W, 3); uint8 (T, H, W, 3).

        Raises:
            gr.Error: as `decode`.
        """
        entry = self.entry(tokens.model)
        refuse_on_zero_gpu(entry)
        with told():
            pipe = self.model(entry.id)
            check_weights(tokens, pipe.fingerprint, pipe.info.num_ids, entry)
            return self._decoded(tokens.prefix(keep_k), first_frame)

    def _decoded(self, tokens: ClipTokens, first_frame: np.ndarray | None = None) -> np.ndarray:
        import torch

        from flextok.video.pixels import to_float, to_uint8

        ids = torch.from_numpy(tokens.array())[None]
        frames = self.model(tokens.model).detokenize(
            ids,
            keep_k=tokens.keep_k,
            num_inference_steps=tokens.steps,
            guidance_scale=tokens.guidance,
            conditioning_frames=None if first_frame is None else to_float(first_frame[None]),
            generator=torch.Generator().manual_seed(tokens.seed),
        )
        return to_uint8(frames.frames[0, :, : tokens.num_frames])

    def _add_grids(self, progress: Progress, steps: int, seed: int) -> Iterator[Progress]:
        from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
        from flextok.reconstruction import grid_at_equal_tokens, sweep

        grid = self.model(EMBEDDED_GRID)
        assert isinstance(grid, VideoTokenizerPipeline)
        for result in sweep(grid, progress.clip, grid.info.token_budgets, steps, seed=seed):
            progress.coarser_grid.append(result)
            progress.stage = f"decoded the grid at {result.keep_k} cells"
            yield progress
        for decoded in progress.sweep:
            shorter = grid_at_equal_tokens(grid, progress.clip, decoded.keep_k, "fewer frames", steps, seed)
            if shorter is not None:
                progress.shorter_grid.append((decoded.keep_k, shorter))
        progress.stage = "decoded the shorter grids"
        yield progress


def check_weights(tokens: ClipTokens, fingerprint: str, num_ids: int, entry: ModelEntry) -> None:
    """Raise TokenError where tokens were not made by the weights that are to decode them."""
    if tokens.fingerprint != fingerprint:
        raise TokenError(
            f"These tokens were made by other weights of {entry.id!r} (fingerprint {tokens.fingerprint}; here it is "
            f"{fingerprint}), which would decode to another video: open them with the version that wrote them."
        )
    if tokens.num_ids != num_ids or tokens.keep_k > entry.num_registers:
        raise TokenError(
            f"{entry.id} has {entry.num_registers} tokens per latent frame of {num_ids} values each, these tokens "
            f"have {tokens.keep_k} of {tokens.num_ids}."
        )
    if tokens.steps > MAX_STEPS or tokens.guidance > MAX_GUIDANCE or tokens.latent_frames > MAX_LATENT_FRAMES:
        raise TokenError(
            f"This app decodes at most {MAX_LATENT_FRAMES} latent frames with {MAX_STEPS} steps and guidance "
            f"{MAX_GUIDANCE:g}; these tokens ask for {tokens.latent_frames}, {tokens.steps} and {tokens.guidance:g}."
        )
