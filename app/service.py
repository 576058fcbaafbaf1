"""The only door from the page to the library: loads models once, checks requests, turns problems into sentences."""

from __future__ import annotations

import html
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from app import gpu_runs
from app.clip_plan import describe_file, describe_plan
from app.memory import give_back
from app.runtime import ZERO_GPU
from flextok.availability import Availability, availability, describe_local, local_id
from flextok.clip_tokens import ClipTokens, TokenError, rows_of
from flextok.registry import ASSETS, ModelEntry, list_models

if TYPE_CHECKING:  # PyTorch and diffusers take seconds: they load in the background, after the page is up
    import numpy as np

    from app.gpu_runs import Pipeline
    from flextok.data.video_read import VideoInfo
    from flextok.reconstruction import Clip, Reconstruction

EXAMPLES = ASSETS / "examples"
EMBEDDED, EMBEDDED_GRID = "embedded", "embedded-grid"
MAX_STEPS = 50
MAX_GUIDANCE = 30.0
MAX_SEED = 2**31 - 1
MAX_FPS = 60.0
MAX_CHUNKS = 3
"""Chunks of 17 frames that share one: 49 frames."""
MAX_LENGTH_S = 25.0
CHUNK_FRAMES, MODEL_FPS = 17, 8.0
"""Of every model here; what a clip is read at is said before a model is loaded."""
MAX_UPLOAD_MB = 50
MAX_PIXELS = 4096 * 2304
MAX_UPLOAD_S = 600.0
MAX_DECODE_S = 20.0
CONVERTED_S, CONVERTED_FPS, CONVERTED_PIXELS = 20.0, 16.0, 320
"""What is kept of a file that browsers cannot play: seconds, frames a second, pixels of the shorter side."""
MAX_LATENT_FRAMES = 21
"""81 frames: five chunks."""
NUM_SEEDS = 4
CACHED_VIDEOS = 32
"""Decoded clips kept, so that the unedited one beside an edit, a download or a link opened twice costs nothing."""


def refusal(sentence: str) -> gr.Error:
    """An error for the page, which shows it as HTML: names and values in it come from visitors."""
    return gr.Error(html.escape(sentence, quote=False), print_exception=False)


@contextmanager
def told() -> Iterator[None]:
    """A ValueError of the library (VideoError, TokenError, CheckpointError) is a sentence for the user."""
    try:
        yield
    except gr.Error:  # a ValueError too, and a sentence already
        raise
    except ValueError as error:
        raise refusal(str(error)) from error


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


@dataclass(frozen=True)
class Request:
    """What a visitor asks for; `check` refuses what the page's own controls cannot send but an API call can."""

    path: str | None
    also_k: int | None = None
    """A budget beside the powers of two."""
    start_s: float = 0.0
    length_s: float | None = None
    """Seconds that are read; None is one chunk, 17 frames."""
    fps: float | None = None
    """Frames read per second; None is the model's own rate."""
    crop: str = ""
    """"left,top,width,height" in fractions of the picture; empty takes all of it."""
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    model: str = EMBEDDED

    def check(self, entry: ModelEntry) -> None:
        """Raises gr.Error naming the value and the rule."""
        if not self.path:
            raise gr.Error("Choose an example or upload a video first.", print_exception=False)
        rules = (
            ("Tokens per latent frame", self.also_k, 1, entry.num_registers, True),
            ("Start", self.start_s, 0, 86_400, False),
            ("Length", self.length_s, 0.01, MAX_LENGTH_S, False),
            ("Frames per second", self.fps, 0.5, MAX_FPS, False),
            ("Steps", self.steps, 1, MAX_STEPS, True),
            ("Guidance", self.guidance, 0, MAX_GUIDANCE, False),
            ("Seed", self.seed, 0, MAX_SEED, True),
        )
        for name, value, low, high, whole in rules:
            if value is None and name not in ("Start", "Seed"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # NaN too
                raise refusal(f"{name} must be between {low} and {high}, not {value!s:.40}.")
            if whole and int(value) != value:
                raise refusal(f"{name} must be a whole number, not {value}.")
        parse_crop(self.crop)


class VideoService:
    """Holds the embedded register tokenizer and its 3D-grid baseline; `gpu_runs` one other model at a time.

    Args:
        local: checkpoint folders or files offered beside the known models, e.g. tokenizers of one's own.
    """

    def __init__(self, local: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Pipeline] = {}
        self._videos: OrderedDict[ClipTokens, np.ndarray] = OrderedDict()
        self._local = {local_id(source): source for source in local}
        self._known: dict[str, tuple[ModelEntry, Availability | None]] = {
            entry.id: (entry, None if entry.needs_gpu else Availability("cpu"))
            for entry in list_models()
            if entry.kind == "register"
        }

    def load_zero_gpu_models(self) -> None:
        """On ZeroGPU, before the page opens: load every large model that can be had; the others say why not."""
        for name, source in self._local.items():
            self._known[name] = describe_local(source)
        for entry, available in self.known():
            if entry.source == "embedded" or (available is not None and not available.runs):
                continue
            try:
                gpu_runs.load_for_zero_gpu(entry.id, self._local.get(entry.id, entry.id))
                self._known[entry.id] = (entry, Availability("cuda"))
            except (ValueError, RuntimeError) as error:  # a model less is better than no page
                reason = str(error) if isinstance(error, ValueError) else "could not be loaded on this machine"
                self._known[entry.id] = (entry, Availability("cuda", reason))

    def load_in_background(self) -> None:
        threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        self.model(EMBEDDED)
        self.model(EMBEDDED_GRID)
        self.look_around()

    def known(self) -> list[tuple[ModelEntry, Availability | None]]:
        """Models of the picker; None where it is not known yet whether one can run here."""
        return list(self._known.values())

    def look_around(self) -> list[tuple[ModelEntry, Availability | None]]:
        """Find out which models can run here, as far as that is not known yet."""
        with self._lock:
            for name, source in self._local.items():
                if name not in self._known:
                    self._known[name] = describe_local(source)
            for entry, available in self.known():
                if available is None:
                    self._known[entry.id] = (entry, availability(entry))
            return self.known()

    def entry(self, model_id: str | None) -> ModelEntry:
        """The facts of a model that runs here.

        Raises:
            gr.Error: there is none of that name, or it cannot run here.
        """
        entry, available = self._known.get(str(model_id), (None, None))
        if entry is None:
            raise refusal(f"There is no model {str(model_id)[:100]!r}; choose one of: {', '.join(self._known)}.")
        if available is None or not available.runs:
            reason = "still being looked at" if available is None else available.reason
            raise refusal(f"{entry.id} cannot run here: {reason}.")
        return entry

    def is_loaded(self, model_id: str) -> bool:
        return model_id in self._loaded or model_id in gpu_runs.PIPELINES

    def cost(self, model: str, also_k: int | None, steps: int, guidance: float) -> str:
        """What `reconstruct` would cost with these settings, in one sentence; empty where nothing is rationed."""
        entry = self.entry(model)
        tflop = gpu_runs.work_tflop(entry, 17, decoded_budgets(entry, also_k), 1, steps, guidance)
        return gpu_runs.cost_line(entry, tflop)

    def model(self, model_id: str) -> Pipeline:
        """A loaded model; the first call loads it, calls beside it wait. Large ones replace each other."""
        store = self._loaded if model_id in (EMBEDDED, EMBEDDED_GRID) else gpu_runs.PIPELINES
        with self._lock:  # also because two threads that import diffusers at once can fail
            if model_id not in store:
                from flextok.api import load_tokenizer

                if store is gpu_runs.PIPELINES:
                    store.clear()
                _, available = self._known.get(model_id, (None, None))
                device = available.device if available else "cpu"
                source = self._local.get(model_id, model_id)
                store[model_id] = load_tokenizer(source, device=device, dtype=dtype_for(device))
            return store[model_id]

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

            clip = read_clip(request, pipe)
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

            clip = read_clip(request, pipe)
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
            from flextok.data.pixels import to_uint8

            clip = read_clip(request, pipe)
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

    def playable(self, path: str | None) -> np.ndarray:
        """The frames of a file that browsers cannot play, uint8 (T, H, W, 3), at `CONVERTED_FPS` for an mp4 of it.

        Raises:
            gr.Error: it is no video or picture, or over a limit.
        """
        if not path:
            raise gr.Error("Choose a file first.", print_exception=False)
        with told():
            from flextok.data.video_read import read_video

            info = probe(path)
            scale = min(CONVERTED_PIXELS / min(info.width, info.height), 1.0)
            size = max(round(info.height * scale), 2), max(round(info.width * scale), 2)
            frames = read_video(
                path, num_frames=round(CONVERTED_S * CONVERTED_FPS), fps=CONVERTED_FPS, size=size,
                max_pixels=MAX_PIXELS, max_decode_s=MAX_DECODE_S,
            ).frames  # fmt: skip
            return frames if len(frames) > 1 else frames.repeat(CHUNK_FRAMES, axis=0)

    def preview(self, request: Request) -> tuple[str, str, np.ndarray]:
        """About a file, what will be read of it, and its picture at the start: uint8 (H, W, 3), 360 pixels at most.

        Needs no model. Raises gr.Error for a file or a trim that will not do.
        """
        entry = self.entry(request.model)
        request.check(entry)
        with told():
            from flextok.data.video_read import read_video

            info = probe(str(request.path))
            fps = float(request.fps or MODEL_FPS)
            asked = asked_frames(request.length_s, fps, CHUNK_FRAMES)
            plan = describe_plan(asked, fps, request.start_s, CHUNK_FRAMES, info.duration_s or None)
            scale = min(360 / max(info.width, info.height), 1.0)
            size = max(round(info.height * scale), 1), max(round(info.width * scale), 1)
            start = min(request.start_s, max(info.duration_s - 0.1, 0.0))
            frame = read_video(
                str(request.path), start_s=start, num_frames=1, fps=fps, size=size,
                max_pixels=MAX_PIXELS, max_decode_s=MAX_DECODE_S,
            ).frames[0]  # fmt: skip
            return describe_file(info), plan, frame

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

    def picture(self, path: str | None, model_id: str) -> np.ndarray:
        """A picture, or the first frame of a video, at a model's size: uint8 (H, W, 3)."""
        if not path:
            raise gr.Error("Choose a picture first.", print_exception=False)
        entry = self.entry(model_id)
        with told():
            from flextok.data.video_read import read_video

            probe(path)
            size = self.model(entry.id).info.height
            read = read_video(path, num_frames=1, fps=8, size=size, max_pixels=MAX_PIXELS, max_decode_s=MAX_DECODE_S)
            return read.frames[0].copy()

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

        from flextok.data.pixels import to_float, to_uint8

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


def refuse_on_zero_gpu(entry: ModelEntry) -> None:
    """Single tokens of a model that runs in forks with a lent GPU are not offered: each click would ask for one."""
    if ZERO_GPU and entry.source != "embedded":
        raise refusal(f"Tokens of {entry.id} cannot be edited on ZeroGPU; choose the embedded model.")


def read_clip(request: Request, pipe: Pipeline) -> Clip:
    """The part of a file that a request asks for, as the model takes it; ValueError says what is wrong."""
    from flextok.reconstruction import load_clip

    fps = float(request.fps or pipe.info.fps)
    chunk = pipe.info.chunk_frames
    num_frames = asked_frames(request.length_s, fps, chunk)
    num_chunks = 1 + max(-(-(num_frames - chunk) // (chunk - 1)), 0)
    if num_chunks > MAX_CHUNKS:
        most = chunk + (chunk - 1) * (MAX_CHUNKS - 1)
        raise ValueError(
            f"{num_frames} frames are more than {most}: ask for at most {most / fps:.1f} s at {fps:g} frames a second."
        )
    probe(str(request.path))
    return load_clip(
        str(request.path),
        pipe.info,
        request.start_s,
        num_chunks,
        fps,
        parse_crop(request.crop),
        num_frames,
        MAX_PIXELS,
        MAX_DECODE_S,
    )


def asked_frames(length_s: float | None, fps: float, chunk_frames: int) -> int:
    """Frames of a request: one chunk unless a length was given."""
    return max(round(length_s * fps), 1) if length_s else chunk_frames


def probe(path: str) -> VideoInfo:
    """What a file holds, found from its content; ValueError where it is over a limit of this app."""
    from flextok.data.video_limits import VideoError
    from flextok.data.video_read import probe_video

    size = Path(path).stat().st_size if Path(path).is_file() else 0
    if size > MAX_UPLOAD_MB << 20:
        raise VideoError(f"The file has {size / 2**20:.0f} MB, more than {MAX_UPLOAD_MB}: cut or shrink it first.")
    info = probe_video(path, max_pixels=MAX_PIXELS)
    if info.duration_s > MAX_UPLOAD_S:
        raise VideoError(
            f"The video lasts {info.duration_s / 60:.0f} minutes, more than {MAX_UPLOAD_S / 60:.0f}: cut it first."
        )
    return info


def parse_crop(text: str | None) -> tuple[float, float, float, float] | None:
    """ "left,top,width,height" in fractions; None for an empty text.

    Raises:
        gr.Error: it is not that.
    """
    if not text:
        return None
    try:
        left, top, width, height = (float(part) for part in str(text).split(",", 4))
    except ValueError:
        raise refusal(f"The crop must be left,top,width,height in fractions, not {text!s:.60}.") from None
    inside = 0 <= left < 1 and 0 <= top < 1 and 0 < width <= 1.0001 - left and 0 < height <= 1.0001 - top
    if not inside:
        raise refusal(f"The crop must lie inside the picture, 0 to 1, not {text!s:.60}.")
    return left, top, width, height


def budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """The budgets that are decoded: powers of two, K, and one more that was asked for."""
    powers = {1 << i for i in range(entry.num_registers.bit_length())}
    wanted = {k for k in powers if k <= entry.num_registers} | {entry.num_registers}
    return sorted(wanted | ({int(also_k)} if also_k else set()))


def decoded_budgets(entry: ModelEntry, also_k: int | None = None) -> list[int]:
    """`budgets`, but where a GPU is lent by the second a large model decodes every third one and K."""
    every = budgets(entry, also_k)
    if not ZERO_GPU or entry.source == "embedded":
        return every
    return [k for i, k in enumerate(every) if i % 3 == 0 or k in (entry.num_registers, also_k)]


def dtype_for(device: str):  # type: ignore[no-untyped-def]  # PyTorch's dtype, and PyTorch is not loaded yet
    """bfloat16 on accelerators; a CPU takes what is stored, or float32."""
    import torch

    return None if device == "cpu" else torch.bfloat16
