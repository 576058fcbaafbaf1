"""Class or text to video, of 17 frames or chunk by chunk of any length: tokens are drawn, then decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from flextok.checks import whole_number
from flextok.models.ar_transformer import ARCondition, ARTransformer
from flextok.models.contract import TokenizerModel, VideoAutoencoder
from flextok.pipelines.decode_options import CALLBACK_TENSORS, EndOfStep, Generator, callback_tensors
from flextok.pipelines.pipeline_output import as_asked, check_output_type
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.pipelines.settings import check_scheduler, check_settings
from flextok.pipelines.token_sampling import SamplingSettings, stream_tokens
from flextok.prompts import chunk_prompts
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler

MAX_CHUNKS = 64


@dataclass
class VideoGeneratorOutput(BaseOutput):
    """`frames`, (b, 3, T, H, W) in about [-1, 1] or as asked, and the `token_ids` (b, t, k) they were decoded from."""

    frames: Any
    token_ids: Tensor


@dataclass(frozen=True)
class GeneratorInfo:
    """What a user needs to know of a loaded generator."""

    id: str
    kind: str
    """"register" (any budget) or "grid" (all tokens of every frame)."""
    actions: tuple[str, ...]
    """Classes it was trained on."""
    token_budgets: tuple[int, ...]
    chunk_frames: int
    fps: float
    parameters: int
    """Of the autoregressive model alone."""
    licence: str


class VideoGeneratorPipeline(DiffusionPipeline):
    """Autoregressive model over a tokenizer's tokens, and that tokenizer's decoder.

    One sequence serves every budget: tokens come in time-first order, so drawing fewer gives a coarser clip sooner.
    """

    model_cpu_offload_seq = "transformer->tokenizer->vae"
    _exclude_from_cpu_offload = ("transformer",)
    """Of sequential offload: its matrices are merged for a sequence, and not used layer by layer."""
    _callback_tensor_inputs = CALLBACK_TENSORS
    _num_timesteps = 0
    _guidance_scale = 1.0

    def __init__(
        self,
        vae: VideoAutoencoder,
        tokenizer: TokenizerModel,
        scheduler: RectifiedFlowScheduler,
        transformer: ARTransformer,
        name: str = "unnamed",
        fps: float = 8.0,
        licence: str = "unknown",
        num_inference_steps: int = 4,
        guidance_scale: float = 3.0,
        guidance_by_budget: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        settings = dict(
            name=name,
            fps=fps,
            licence=licence,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_by_budget=guidance_by_budget,
        )
        check_settings(**settings)
        check_scheduler(scheduler)
        self.register_modules(vae=vae, tokenizer=tokenizer, scheduler=scheduler, transformer=transformer)
        self.register_to_config(**settings)
        self._decoder: VideoTokenizerPipeline | None = None
        self.weight_files: tuple[Path, ...] = ()
        """Of the tokenizer and its VAE."""

    @property
    def decoder(self) -> VideoTokenizerPipeline:
        """The tokenizer's pipeline over this one's parts, also after one of them was replaced."""
        parts = (self.vae, self.tokenizer, self.scheduler)
        made = self._decoder
        if made is None or any(
            a is not b for a, b in zip(parts, (made.vae, made.tokenizer, made.scheduler), strict=True)
        ):
            c = self.config
            made = VideoTokenizerPipeline(*parts, c.name, c.fps, c.licence, num_inference_steps=c.num_inference_steps)
            made.weight_files = self.weight_files
            self._decoder = made
        return made

    @property
    def info(self) -> GeneratorInfo:
        tokens = self.decoder.info
        return GeneratorInfo(
            id=self.config.name,
            kind=tokens.kind,
            actions=tuple(self.transformer.config.classes),
            token_budgets=(tokens.num_registers,) if tokens.kind == "grid" else tokens.token_budgets,
            chunk_frames=tokens.chunk_frames,
            fps=self.config.fps,
            parameters=sum(p.numel() for p in self.transformer.parameters()),
            licence=self.config.licence,
        )

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        action: str | Sequence[str] | None = None,
        *,
        keep_k: int | None = None,
        num_frames: int = 17,
        guidance_scale: float | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.95,
        num_inference_steps: int | None = None,
        generator: Generator | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: EndOfStep | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = CALLBACK_TENSORS,
    ) -> VideoGeneratorOutput:
        """Generate clips.

        Args:
            prompt, action: what to show, one of the two: a text, or one of `info.actions`; a list gives a batch.
            keep_k: tokens per latent frame; None takes 8 for registers and all for a grid.
            num_frames: 17 + 16 n. Each chunk after the first begins with the last frame of the one before.
            guidance_scale: of the tokens, towards what was asked for; 1 is none. None takes the model's default.
            temperature, top_k, top_p: how freely tokens are drawn (`SamplingSettings`).
            num_inference_steps: of the flow decoder.
            generator: decides tokens and noise; a list gives each clip its own.
            output_type: as in `VideoTokenizerPipeline.__call__`.
            return_dict: False gives a tuple of frames and token ids.
            callback_on_step_end: called as callback(pipe, step, timestep, kwargs) -> kwargs after every step of the
                flow decoder, of each chunk.

        Raises:
            ValueError: in one sentence, whatever is wrong with an argument.
        """
        check_output_type(output_type)
        chunks = list(
            self.stream(
                prompt,
                action,
                keep_k=keep_k,
                num_frames=num_frames,
                guidance_scale=guidance_scale,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                num_inference_steps=num_inference_steps,
                generator=generator,
                output_type="latent" if output_type == "latent" else "pt",
                callback_on_step_end=callback_on_step_end,
                callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            )
        )
        frames = as_asked(torch.cat([chunk.frames for chunk in chunks], dim=2), output_type)
        token_ids = torch.cat([chunk.token_ids for chunk in chunks], dim=1)
        self.maybe_free_model_hooks()
        if not return_dict:
            return frames, token_ids  # type: ignore[return-value]  # as in all of diffusers' pipelines
        return VideoGeneratorOutput(frames=frames, token_ids=token_ids)

    @torch.no_grad()
    def stream(
        self,
        prompt: str | Sequence[str] | None = None,
        action: str | Sequence[str] | None = None,
        *,
        keep_k: int | None = None,
        num_frames: int = 17,
        guidance_scale: float | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.95,
        num_inference_steps: int | None = None,
        generator: Generator | None = None,
        output_type: str = "pt",
        callback_on_step_end: EndOfStep | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = CALLBACK_TENSORS,
    ) -> Iterator[VideoGeneratorOutput]:
        """`__call__`, chunk by chunk: yields the new frames (or latents) and tokens of each as they are ready."""
        k = self.checked_k(keep_k)
        asked = self._asked(prompt, action)
        generators = self._generators(generator, len(asked))
        chunks = self._num_chunks(num_frames)
        settings = self.settings(k, guidance_scale, temperature, top_k, top_p)
        per_chunk = [chunk_prompts(text, chunks) if action is None else [text] * chunks for text in asked]
        if action is None:  # now, and not when a chunk's turn has come
            for text in {text for texts in per_chunk for text in texts}:
                self._words(text)
        last: Tensor | None = None
        for number in range(chunks):
            wanted = [texts[number] for texts in per_chunk]
            known = None if last is None else self.decoder.tokenize(last)
            count = k * self.transformer.token_order.num_frames
            *_, sequence = stream_tokens(
                self.transformer, *self._conditions(wanted, action is not None), count, settings, generators, known
            )
            ids = self.transformer.token_order.unflatten(sequence)
            (decoded,) = self.decoder.decode_chunks(
                ids,
                num_inference_steps=num_inference_steps,
                conditioning_frames=last,
                generator=generators,
                callback_on_step_end=self._callback(callback_on_step_end, settings.guidance_scale),
                callback_on_step_end_tensor_inputs=callback_tensors(
                    callback_on_step_end, callback_on_step_end_tensor_inputs
                ),
            )
            frames = decoded.frames
            last = frames[:, :, -1:].clamp(-1, 1)
            first = 0 if number == 0 else 1
            shown = decoded.latents if output_type == "latent" else frames
            yield VideoGeneratorOutput(frames=shown[:, :, first:], token_ids=ids[:, first:])

    @torch.no_grad()
    def refine(
        self,
        prompt: str | None = None,
        action: str | None = None,
        *,
        budgets: Sequence[int] = (1, 2, 4, 8, 16),
        guidance_scale: float | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.95,
        num_inference_steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[VideoGeneratorOutput]:
        """One clip from one drawn sequence, decoded at each of ascending `budgets` as soon as its tokens are there.

        Raises:
            ValueError: as `__call__`; or this is a grid's generator, whose tokens have no prefix.
        """
        if self.info.kind == "grid":
            raise ValueError("a grid's tokens have no prefix; generate the whole clip")
        stops = sorted({self.checked_k(k) for k in budgets})
        if not stops:
            raise ValueError("budgets is empty")
        asked = self._asked(prompt, action)
        if len(asked) != 1:
            raise ValueError(f"one clip is refined at a time, {len(asked)} were asked for")
        generators = self._generators(generator, 1)
        settings = self.settings(max(stops), guidance_scale, temperature, top_k, top_p)
        order = self.transformer.token_order
        shape = torch.zeros(1, order.num_frames, 1, dtype=torch.int64)
        noise = self.decoder.prepare_latents(shape, generators)  # the same at every budget
        conditions = self._conditions(asked, action is not None)
        counts = {k * order.num_frames for k in stops}
        for sequence in stream_tokens(self.transformer, *conditions, max(counts), settings, generators):
            if sequence.shape[1] in counts:
                ids = order.unflatten(sequence)
                frames = self.decoder.detokenize(ids, num_inference_steps=num_inference_steps, latents=noise).frames
                yield VideoGeneratorOutput(frames=frames, token_ids=ids)

    def _callback(self, callback: EndOfStep | None, guidance_scale: float) -> EndOfStep | None:
        """The decoder's callback, told of this pipeline."""
        if callback is None:
            return None

        def told(decoder: VideoTokenizerPipeline, index: int, timestep: Tensor, kwargs: dict[str, Any]) -> Any:
            self._num_timesteps, self._guidance_scale = decoder.num_timesteps, guidance_scale
            return callback(self, index, timestep, kwargs)

        return told

    @property
    def num_timesteps(self) -> int:
        """Of the flow decoder, in the call whose callback is being called."""
        return self._num_timesteps

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that the model has never seen; they are left out when it is read, as marks are."""
        text = prompt.encode(errors="replace").decode()  # bytes that are no text are refused where clips are made
        words = self.transformer.word_tokenizer.unknown_words(text)
        return [word if len(word) <= 40 else f"{word[:40]}..." for word in words if any(c.isalnum() for c in word)]

    def checked_k(self, keep_k: int | None) -> int:
        """The budget asked for. Raises ValueError where the model has no such budget."""
        total = self.transformer.config.tokens_per_frame
        if self.info.kind == "grid":
            if keep_k not in (None, total):
                raise ValueError(f"keep_k={keep_k}: a grid's generator writes all {total} tokens of every latent frame")
            return total
        return min(8, total) if keep_k is None else whole_number("keep_k", keep_k, 1, total)

    def settings(
        self, k: int, guidance_scale: float | None, temperature: float, top_k: int, top_p: float
    ) -> SamplingSettings:
        """Checked settings; the guidance scale is the model's default for a budget of k where it is None."""
        scale = self.default_guidance(k) if guidance_scale is None else guidance_scale
        return SamplingSettings(scale, temperature, top_k, top_p)

    def default_guidance(self, k: int) -> float:
        """The scale of the largest budget up to k in `guidance_by_budget`, or else the one scale of the model."""
        scales = {int(budget): scale for budget, scale in (self.config.guidance_by_budget or {}).items()}
        below = [budget for budget in scales if budget <= k]
        return scales[max(below)] if below else self.config.guidance_scale

    def _asked(self, prompt: str | Sequence[str] | None, action: str | Sequence[str] | None) -> list[str]:
        """Checked prompts or actions, one a clip."""
        if (prompt is None) == (action is None):
            raise ValueError("ask for a prompt or for an action, one of the two")
        value = prompt if action is None else action
        asked: list[Any] = (
            list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
        )
        if not asked:
            raise ValueError("nothing was asked for")
        for text in asked:
            if not isinstance(text, str):
                raise ValueError(f"a prompt or an action is a text, not {text!r:.40}")
            if action is None:
                _check_unicode(text)
            elif text not in self.transformer.config.classes:
                raise ValueError(f"{text!r} is not one of the actions {', '.join(self.transformer.config.classes)}")
        return asked

    def _words(self, prompt: str) -> Tensor:
        """Word ids (1, s) of a prompt, unknown words left out."""
        longest = self.transformer.config.max_words
        ids = self.transformer.word_tokenizer.encode([prompt], max_words=max(len(prompt), 1))
        known = ids[ids > 1]
        if not len(known):
            unknown = ", ".join(self.unknown_words(prompt)[:8])
            if unknown:
                raise ValueError(f"this small model does not know: {unknown}")
            raise ValueError("no word of the prompt can be read" if prompt.strip() else "the prompt is empty")
        if len(known) > longest:
            raise ValueError(f"the prompt has {len(known)} words, this model reads {longest}")
        return known[None]

    def _conditions(self, asked: Sequence[str], by_class: bool) -> tuple[ARCondition, ARCondition]:
        """What to draw for, and the same with nothing asked for."""
        device, count = self._execution_device, len(asked)
        none = torch.full((count,), -1, device=device)
        no_text = torch.zeros(count, 1, dtype=torch.int64, device=device)
        classes, words = none, no_text
        if by_class:
            classes = torch.tensor([self.transformer.config.classes.index(text) for text in asked], device=device)
        else:
            rows = [self._words(text)[0] for text in asked]
            words = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        return self.transformer.condition(classes, words), self.transformer.condition(none, no_text)

    def _num_chunks(self, num_frames: int) -> int:
        chunks = len(self.decoder.plan.frame_slices(whole_number("num_frames", num_frames, 1)))
        if chunks > MAX_CHUNKS:
            raise ValueError(f"num_frames={num_frames} are {chunks} chunks, at most {MAX_CHUNKS} are generated at once")
        return chunks

    def _generators(self, generator: Generator | None, count: int) -> list[torch.Generator]:
        """One generator a clip; a single one seeds as many as are needed."""
        if isinstance(generator, Sequence):
            if len(generator) != count:
                raise ValueError(f"{len(generator)} generators do not fit {count} clips")
            return list(generator)
        if generator is not None and count == 1:
            return [generator]
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        return [torch.Generator().manual_seed(seed) for seed in seeds]


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the prompt holds bytes that are no text") from None
