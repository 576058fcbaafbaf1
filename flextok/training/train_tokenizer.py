"""Train a tokenizer on cached latents: `accelerate launch --cpu -m flextok.training.train_tokenizer register ...`.

`register` and `grid` share objective, data and decoder; registers alone have a linear codec, a decoder that starts from
its prediction, and a head that reads what happens. Three phases:

- `read` (registers, clips with labels): the encoder learns to say what a clip shows, first without quantisation.
  Measured on one core: ten minutes of it bring what half an hour of joint training does not.
- `joint`: all parts. The decoder sees all frames: a time-causal one cannot draw the first frame of a clip from tokens
  that say together what it shows (after 60,000 clips its error from pure noise at k = 1 was 2.1 in that frame, which is
  the variance, and 0.5 to 0.8 in the others), and tokens learn nothing from it.
- `decoder`: tokens are frozen; the decoder goes on for long, with the clean first latent frame given half of the time,
  from ids that are cached (`flextok.data.token_cache`) or computed as needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flextok.data.latent_cache import LatentCache
from flextok.data.token_cache import TokenCache
from flextok.loading.checkpoint import load_strict
from flextok.metrics.reconstruction import psnr
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.flow_decoder import TokenCondition
from flextok.models.flow_denoiser import FlowDenoiser
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.layers.transformer import Block
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.sampling import sample_latents
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.toybox.labels import ATTRIBUTES, NUM_CLASSES, labels_of_seeds
from flextok.toybox.sampling import VALIDATION_SEEDS
from flextok.training.configs import RunConfig, compiled, shares
from flextok.training.fit_codec import fit_codec
from flextok.training.losses import metric_error, motion_weights, pixel_metric
from flextok.training.sheets import clip_rows
from flextok.training.trainer import step_rng, train_preset
from flextok.training.validation import validation_clips
from flextok.video.pixels import to_uint8

ERROR_LEVELS = (1.0, 0.8, 0.5, 0.25)
"""Noise levels at which validation clips are looked at."""


@dataclass(frozen=True)
class TokenizerConfig:
    run: RunConfig
    kind: Literal["register", "grid"] = "register"
    vae: Path = Path("runs/vae/weights")
    phase: Literal["read", "joint", "decoder"] = "joint"
    caches: tuple[Path, ...] = ()
    """Latent caches (python -m flextok.data.latent_cache)."""
    cache_weights: tuple[float, ...] = ()
    tokens: tuple[Path, ...] = ()
    """Token caches of the latent caches, in their order, for the `decoder` phase."""
    num_registers: int = 64
    num_free_registers: int = 1
    """Registers that the linear codec leaves to the transformers; all of them is no codec."""
    levels: tuple[int, ...] = (8, 5, 5, 5)
    dim: int = 192
    encoder_depth: int = 3
    decoder_depth: int = 6
    head_dim: int = 64
    unquantized_share: float = 0.6
    """Share of the `read` phase before codes are rounded."""
    pure_noise_share: float = 0.15
    """Share of clips at sigma 1, where the decoder has nothing but the tokens."""
    sigma_location: float = 0.3
    """Other clips draw logit(sigma) from a normal with this mean and deviation 1."""
    sigma_floor: float = 0.15
    """Errors of the clean latents count 1 / max(sigma, floor)^2, as errors of the velocity do down to the floor."""
    drop_condition: float = 0.05
    """Share of steps without any token, for guidance."""
    short_clips: float = 0.05
    """Share of steps on fewer latent frames, so that short clips and images can be decoded."""
    budget_weights: tuple[float, ...] = ()
    """How often each budget is drawn, in the order of the model's budgets; equal if empty."""
    motion_strength: float = 1.0
    """How much more errors count where something moves (`motion_weights`)."""
    meaning_weight: float = 0.3
    """Weight of reading the ground truth of Toybox clips from the free registers alone, where caches have labels."""
    meaning_attributes: tuple[str, ...] = (
        "action", "shape", "color", "pattern", "size", "floor", "floor_pattern", "sky",
    )  # fmt: skip
    """What is read; a few codes cannot hold all of it, so fewer names are read better."""
    num_fit: int = 8000
    """Clips the linear codec is computed from when the `joint` phase begins."""
    num_validation: int = 16
    validation_bank: Path | None = None
    """Clip bank to be measured and looked at, of clips that are not trained on; Toybox's validation clips if none."""


class MeaningReader(nn.Module):
    """Reads what happens in a clip from a few codes: a small MLP with one classifier for each attribute."""

    def __init__(self, size: int, attributes: tuple[str, ...], hidden: int = 256) -> None:
        super().__init__()
        if unknown := set(attributes) - set(ATTRIBUTES):
            raise ValueError(f"meaning_attributes {sorted(unknown)} are none of {', '.join(ATTRIBUTES)}")
        self.trunk = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, NUM_CLASSES[name]) for name in attributes})

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of labels (b, len(ATTRIBUTES)), -1 where a clip has none; guessing gives 1.

        codes: (b, t, k, f).
        """
        known = labels[:, 0] >= 0
        if not known.any():
            return codes.new_zeros(())
        losses = [
            F.cross_entropy(logits.float(), labels[known, ATTRIBUTES.index(name)]) / math.log(NUM_CLASSES[name])
            for name, logits in self.logits(codes[known]).items()
        ]
        return torch.stack(losses).mean()

    def logits(self, codes: Tensor) -> dict[str, Tensor]:
        """Of each attribute, (b, classes)."""
        x = self.trunk(codes.flatten(1))
        return {name: head(x) for name, head in self.heads.items()}


class TokenizerObjective(nn.Module):
    """Rectified flow on a random prefix: predict the clean latents from their noisy form and the kept tokens.

    Errors count more where something moves. The free registers have a second task: a small head must read from them
    alone what happens in a clip (`flextok.toybox.labels`), or they serve sky and floor only. SemanTok
    (arXiv:2610.00686) reads a teacher's features from the prefix; the ground truth is the better teacher where there
    is one. The head is thrown away after training.
    """

    def __init__(self, model: RegisterTokenizer | GridTokenizer, metric: Tensor, config: TokenizerConfig) -> None:
        super().__init__()
        self.metric: Tensor
        self.reader: MeaningReader | None = None
        self.model, self.config = model, config
        self.register_buffer("metric", metric, persistent=False)
        if isinstance(model, GridTokenizer):
            self.budgets: tuple[int, ...] = model.grid_sizes
            frozen = [model.embed, model.blocks, model.head]
        else:
            self.budgets = model.token_budgets
            frozen = [model.encoder, model.codec]
            if config.meaning_weight and config.phase != "decoder":
                t, size = model.config.latent_size[0], model.codec.free
                self.reader = MeaningReader(t * size, config.meaning_attributes)
        weights = np.asarray(config.budget_weights or [1.0] * len(self.budgets))
        if len(weights) != len(self.budgets):
            raise ValueError(f"{len(weights)} budget_weights do not fit the budgets {self.budgets}")
        self.budget_probabilities = weights / weights.sum()
        if config.phase == "decoder":
            for part in frozen:
                part.requires_grad_(False)
        # A step of 48 clips on one core with bfloat16 at k = 1: 0.45 s, compiled 0.27 s.
        for block in model.modules():
            if isinstance(block, Block):
                block.forward = compiled(block.forward, config.run, dynamic=True)  # type: ignore[method-assign]

    def forward(
        self, step: int, latents: Tensor, noise: Tensor, sigma: Tensor, labels: Tensor, ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """latents, noise: (b, c, t, h, w); sigma: (b,); labels: (b, attributes); ids: (b, t, k), of frozen tokens."""
        c = self.config
        if c.phase == "read":
            return self._read(step, latents, labels)
        budget, t, dropped = self.plan(step, latents.shape[2])
        latents, noise = latents[:, :, :t], noise[:, :, :t]
        given = int(c.phase == "decoder" and t > 1 and step_rng(c.run.seed, step, 2).random() < 0.5)
        meaning = latents.new_zeros(())
        if dropped:
            condition = TokenCondition()
        else:
            codes = self._codes(latents, budget) if ids is None else self.model.quantizer.ids_to_codes(ids[:, :t])
            condition = self.model.condition_on_codes(codes)
            if self.reader is not None and t == self.model.config.latent_size[0]:
                free = self.model.config.num_free_registers
                missing = max(free - codes.shape[2], 0)  # of a budget below their number
                meaning = self.reader(F.pad(codes[:, :, :free], (0, 0, 0, missing)), labels)
        level = sigma.reshape(-1, 1, 1, 1, 1)
        noisy = (1 - level) * latents + level * noise
        if given:
            noisy = torch.cat([latents[:, :, :given], noisy[:, :, given:]], dim=2)
        clean = self.model.decoder.predict(noisy, sigma, condition, given)
        weights = motion_weights(latents, self.metric, c.motion_strength)
        error = (metric_error(clean - latents, self.metric) * weights)[:, given:].mean(dim=(1, 2, 3))  # (b,)
        at_one = (sigma == 1).float()
        # 0.3 keeps the loss, and with it the gradient's norm, near what plain errors give.
        loss = 0.3 * (error / sigma.clamp(min=c.sigma_floor).square()).mean() + c.meaning_weight * meaning
        loss_at_one = (error.detach() * at_one).sum() / at_one.sum().clamp(min=1)
        return {"loss": loss, "loss_at_one": loss_at_one, "meaning": meaning}

    def plan(self, step: int, frames: int) -> tuple[int, int, bool]:
        """What all clips of a step share: the budget, the number of latent frames, whether tokens are dropped."""
        rng, c = step_rng(self.config.run.seed, step, 1), self.config
        budget = int(rng.choice(self.budgets, p=self.budget_probabilities))
        t = int(rng.integers(1, frames)) if rng.random() < c.short_clips and frames > 1 else frames
        return budget, t, bool(rng.random() < c.drop_condition)

    def _read(self, step: int, latents: Tensor, labels: Tensor) -> dict[str, Tensor]:
        assert isinstance(self.model, RegisterTokenizer)
        assert self.reader is not None
        c = self.config
        codes = self.model.free_codes(latents, rounded=step >= c.unquantized_share * c.run.steps)
        return {"loss": self.reader(codes, labels)}

    def _codes(self, latents: Tensor, budget: int) -> Tensor:
        if self.config.phase != "decoder":
            return self.model.quantized_codes(latents, budget)
        with torch.no_grad():
            self.model.code_norm.eval()
            return self.model.quantized_codes(latents, budget)


class TokenizerStage:
    def __init__(self, config: TokenizerConfig) -> None:
        self.config = config
        self.vae = load_strict(AutoencoderCausalVideo, config.vae).to(memory_format=torch.channels_last)
        self.caches = [LatentCache(folder) for folder in config.caches]
        self.probabilities = shares("caches", len(self.caches), config.cache_weights)
        if config.tokens and (config.phase != "decoder" or len(config.tokens) != len(config.caches)):
            raise ValueError("tokens are for the decoder phase, one token cache for each latent cache")
        if config.phase == "read" and (config.kind != "register" or not config.meaning_weight):
            raise ValueError("the read phase is for registers, with a meaning_weight above 0")
        self.tokens = [TokenCache(folder) for folder in config.tokens]
        for cache, tokens in zip(self.caches, self.tokens, strict=bool(self.tokens)):
            if len(cache) != len(tokens):
                raise ValueError(f"{len(tokens)} cached tokens do not fit {len(cache)} cached latents; fill them anew")
        self.video = validation_clips(config.num_validation, 4, config.validation_bank)
        with torch.no_grad():
            self.latents = self.vae.encode(self.video).mean
        shape = tuple(self.latents.shape[1:])
        for folder, cache in zip(config.caches, self.caches, strict=True):
            if cache.latents.shape[1:] != shape:
                raise ValueError(
                    f"{folder} holds latents {cache.latents.shape[1:]}, the validation clips have {shape}; give a "
                    "--validation-bank of the same size"
                )
        metric = pixel_metric(self.vae, self.latents[:8])
        self.model = self._make_model(metric)
        self.module = TokenizerObjective(self.model, metric, config)

    def _make_model(self, metric: Tensor) -> RegisterTokenizer | GridTokenizer:
        c = self.config
        cls = RegisterTokenizer if c.kind == "register" else GridTokenizer
        if c.run.init_from is not None:
            model = load_strict(cls, c.run.init_from)
        else:
            torch.manual_seed(c.run.seed)
            own: dict[str, Any] = {"num_registers": c.num_registers, "num_free_registers": c.num_free_registers}
            own["clip_summary"] = True
            model = cls(
                latent_size=tuple(self.latents.shape[2:]),
                levels=c.levels,
                dim=c.dim,
                encoder_depth=c.encoder_depth,
                decoder_depth=c.decoder_depth,
                head_dim=c.head_dim,
                decoder_attention="full",
                shared_modulation=True,
                **(own if c.kind == "register" else {}),
            )
        if isinstance(model, RegisterTokenizer) and c.phase == "joint":
            # In proportion to the weights, as in training.
            counts = (np.round(c.num_fit * self.probabilities)).astype(int)
            rng = np.random.default_rng(c.run.seed)
            parts = [cache.sample(n, rng) for cache, n in zip(self.caches, counts, strict=True)]
            fit_codec(model, torch.cat(parts), metric)
        return model

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        c = self.config
        rng = step_rng(c.run.seed, step)
        size = c.run.batch_size
        sources = rng.choice(len(self.caches), size=size, p=self.probabilities)
        items = [(int(s), int(rng.integers(len(self.caches[s])))) for s in sources]
        sigma = torch.from_numpy(rng.normal(c.sigma_location, 1.0, size)).float().sigmoid()
        sigma[torch.from_numpy(rng.random(size) < c.pure_noise_share)] = 1.0
        shape = (size, *self.latents.shape[1:])
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        own = items[rows]
        batch = {
            "latents": torch.stack([self.caches[s][i] for s, i in own]),
            "noise": noise[rows],
            "sigma": sigma[rows],
            "labels": torch.from_numpy(np.stack([self.caches[s].labels[i] for s, i in own])),
        }
        if self.tokens:
            budget, _, _ = self.module.plan(step, shape[2])
            k = budget**2 if c.kind == "grid" else budget  # a grid's budgets are sides
            ids = np.stack([self.tokens[s].at(i, k) for s, i in own])
            batch["ids"] = torch.from_numpy(ids.astype(np.int64))
        return batch

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """Errors of the clean latents by noise level and PSNR of eight steps, at every budget; or what is read."""
        device = self.model.device  # the VAE stays on the CPU
        latents = self.latents.to(device)
        if self.config.phase == "read":
            return self._evaluate_reading(latents), None
        scheduler = RectifiedFlowScheduler()
        scheduler.set_timesteps(8)
        noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
        metrics, rows, used = {}, [self.video[i] for i in range(4)], set()
        for budget in sorted(self.module.budgets):
            codes = self.model.quantized_codes(latents, budget)
            used |= set(self.model.quantizer.codes_to_ids(codes).flatten().tolist())
            condition, k = self.model.condition_on_codes(codes), codes.shape[2]
            for sigma in ERROR_LEVELS if k in (1, 16) else ():
                noisy = (1 - sigma) * latents + sigma * noise
                clean = self.model.decoder.predict(noisy, noisy.new_full((len(noisy),), sigma), condition)
                metrics[f"error_k{k}_at_{sigma}"] = float(metric_error(clean - latents, self.module.metric).mean())
            denoiser = FlowDenoiser(self.model, [(len(noise), condition)], scheduler.timesteps)
            video = self.vae.decode(sample_latents(denoiser, scheduler, noise).cpu())
            metrics[f"psnr_k{k}"] = float(psnr(video, self.video).mean())
            rows += [video[i] for i in range(4)]
        metrics["ids_in_use"] = float(len(used))
        clips = [to_uint8(rows[i]) for i in range(len(rows))]
        by_clip = [clips[row * 4 + column] for column in range(4) for row in range(len(clips) // 4)]
        return metrics, clip_rows(by_clip)

    def _evaluate_reading(self, latents: Tensor) -> dict[str, float]:
        """Share of the validation clips in which each attribute is read rightly from the free registers' ids."""
        reader = self.module.reader
        if self.config.validation_bank is not None or reader is None:
            return {}
        labels = labels_of_seeds(VALIDATION_SEEDS[: len(latents)])
        logits = reader.logits(self.model.free_codes(latents))
        return {
            name: float((value.argmax(1).cpu().numpy() == labels[:, ATTRIBUTES.index(name)]).mean())
            for name, value in logits.items()
        }

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


def _phase(kind: Literal["register", "grid"], phase: Literal["read", "joint", "decoder"]) -> TokenizerConfig:
    name = {"read": f"{kind}-read", "joint": kind, "decoder": f"{kind}-decoder"}[phase]
    run = RunConfig(
        Path(f"runs/{name}"),
        batch_size=48,
        optimizer="muon",
        lr=2e-3,
        muon_lr=0.02,
        warmup_steps=50,
        evaluate_every=1000,
        steps={"read": 1200, "joint": 3000, "decoder": 10_000}[phase],
        init_from=Path(f"runs/{kind}/weights") if phase == "decoder" else None,
        seed={"read": 0, "joint": 1, "decoder": 2}[phase],
    )
    # Coarse budgets more often: there is most to learn, and they are cheap. The registers' budgets ascend.
    weights = (0.4, 0.13, 0.13, 0.12, 0.12, 0.05, 0.05) if kind == "register" else (0.2, 0.2, 0.25, 0.35)
    clips = 128 if phase == "read" else 16  # to read an attribute's accuracy off; 16 are many to decode
    return TokenizerConfig(run, kind, phase=phase, budget_weights=weights, num_validation=clips)


def _tiny(kind: Literal["register", "grid"], phase: Literal["read", "joint", "decoder"]) -> TokenizerConfig:
    c = _phase(kind, phase)
    run = replace(
        c.run,
        out=Path(f"{c.run.out}-tiny"),
        steps=4,
        batch_size=4,
        mixed_precision="no",
        compile=False,
        evaluate_every=4,
        save_every=2,
        init_from=None,
    )
    return replace(
        c,
        run=run,
        num_registers=4,
        dim=32,
        encoder_depth=1,
        decoder_depth=1,
        head_dim=16,
        num_validation=8,
        budget_weights=(),
    )


PRESETS = {
    "register-read": ("Registers learn to say what a clip shows", _phase("register", "read")),
    "register": ("Register tokenizer, all parts", _phase("register", "joint")),
    "register-decoder": ("Its decoder, on frozen tokens", _phase("register", "decoder")),
    "grid": ("3D-grid tokenizer, all parts", _phase("grid", "joint")),
    "grid-decoder": ("Its decoder, on frozen tokens", _phase("grid", "decoder")),
    "register-read-tiny": ("A few seconds, for tests", _tiny("register", "read")),
    "register-tiny": ("A few seconds, for tests", _tiny("register", "joint")),
    "register-decoder-tiny": ("A few seconds, for tests", _tiny("register", "decoder")),
    "grid-tiny": ("A few seconds, for tests", _tiny("grid", "joint")),
    "grid-decoder-tiny": ("A few seconds, for tests", _tiny("grid", "decoder")),
}


if __name__ == "__main__":
    train_preset(PRESETS, TokenizerStage)
