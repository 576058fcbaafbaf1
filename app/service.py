"""The only door from the page to the library: decodes and tokenizes clips, turns problems into sentences."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import gradio as gr

from app import decoding, uploads
from app.limits import CHUNK_FRAMES, CHUNK_LATENT, MAX_GUIDANCE, MAX_LATENT_FRAMES, MAX_STEPS
from app.memory import give_back
from app.refusals import told
from app.request import Request
from app.store import ModelStore, decoded_budgets, refuse_on_zero_gpu
from flextok.loading.registry import ModelEntry
from flextok.tokens.clip import ClipTokens, TokenError, rows_of

if TYPE_CHECKING:
    import numpy as np

    from flextok.reconstruction import Reconstruction, Wanted
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
    no_grid: str = ""
    """Why no grid stands beside it."""
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
        wanted = decoded_budgets(entry, also_k)
        tflop = decoding.work_tflop(entry, CHUNK_FRAMES, wanted, steps, guidance)
        grid, _ = self.grid_of(entry)
        if grid is not None and entry.source != "embedded":
            paid = {k * CHUNK_LATENT // grid.num_registers for k in wanted} - {
                0
            }  # latent frames, as `_grid_part` has it
            tflop += decoding.work_tflop(grid, CHUNK_FRAMES, [grid.num_registers] * (1 + len(paid)), 1, 1.0)
        return decoding.cost_line(entry, tflop)

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
            from flextok.reconstruction import budgets_of

            clip = uploads.read_clip(request, pipe)
            progress = Progress(clip, "clip read")
            yield progress
            steps = int(request.steps or entry.steps)
            guidance = float(entry.guidance if request.guidance is None else request.guidance)
            wanted = budgets_of(decoded_budgets(entry, request.also_k), int(request.seed))
            registers = decoding.make_part(entry, clip.video.shape[2], wanted, steps, guidance)
            grid, pays_for, progress.no_grid = self._grid_part(entry, clip, wanted, steps)
            job = decoding.Job(clip.video.numpy(), (registers,) if grid is None else (registers, grid))
            for part, one, result in decoding.run(job, clip, entry.source == "embedded"):
                if part == 0:
                    progress.sweep.append(result)
                    progress.stage = f"decoded k = {result.keep_k}"
                elif one.latent_frames is None:
                    progress.coarser_grid.append(result)
                    progress.stage = f"decoded the grid at {result.keep_k} cells"
                else:
                    progress.shorter_grid += [(k, result) for k in pays_for[one]]
                    progress.stage = "decoded a shorter grid"
                yield progress
            progress.seconds, progress.done = time.perf_counter() - started, True
            give_back()
            yield progress

    def _grid_part(
        self, entry: ModelEntry, clip: Clip, registers: Sequence[Wanted], steps: int
    ) -> tuple[decoding.Part | None, dict[Wanted, list[int]], str]:
        """What the grid baseline is to decode, and for which budgets of the registers; or why there is none."""
        from flextok.reconstruction import coarser_grid, shorter_grid

        grid, reason = self.grid_of(entry)
        if grid is None:
            return None, {}, reason
        try:
            info = self.model(grid.id).info
        except ValueError as error:  # a clip without a grid is better than none
            return None, {}, str(error)
        latent_frames, seed = 1 + (clip.video.shape[2] - 1) // info.temporal_ratio, registers[0].seed
        coarser = [one for k in info.token_budgets if (one := coarser_grid(info, k, seed)) is not None]
        pays_for: dict[Wanted, list[int]] = {}
        for register in registers:
            shorter = shorter_grid(info, register.keep_k, latent_frames, seed)
            if shorter is not None:
                pays_for.setdefault(shorter, []).append(register.keep_k)
        chosen = steps if entry.source == "embedded" else grid.steps
        wanted = [*coarser, *pays_for]
        return decoding.make_part(grid, clip.video.shape[2], wanted, chosen, grid.guidance), pays_for, ""

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
            from flextok.reconstruction import seeds_of

            clip = uploads.read_clip(request, pipe)
            wanted = seeds_of(int(keep_k), [int(request.seed) + i for i in range(NUM_SEEDS)])
            guidance = float(entry.guidance if request.guidance is None else request.guidance)
            part = decoding.make_part(entry, clip.video.shape[2], wanted, int(request.steps or entry.steps), guidance)
            job = decoding.Job(clip.video.numpy(), (part,))
            return [result for *_, result in decoding.run(job, clip, entry.source == "embedded")]

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
