"""Train a tokenizer on cached latents: `accelerate launch --cpu -m flextok.training.train_tokenizer register ...`.

`register` and `grid` share objective, data and decoder; registers alone have a linear codec, a decoder that starts from
its prediction, and a head that reads what happens. Two phases, as in the paper: all parts with a time-causal decoder;
then (`--finetune`) the decoder with full attention and the clean first latent frame given half of the time, alone or
(`--train-encoder`) with the tokens going on.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from safetensors.torch import load_file
from torch import Tensor, nn

from flextok.data.latent_cache import LatentCache
from flextok.data.pixels import to_uint8
from flextok.data.toybox_labels import ATTRIBUTES, NUM_CLASSES
from flextok.metrics.reconstruction import psnr
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.models.grid_tokenizer import GridTokenizer
from flextok.models.loading import WEIGHTS_NAME, load_strict
from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.pipelines.sampling import sample_latents
from flextok.schedulers.scheduling_rectified_flow import RectifiedFlowScheduler
from flextok.training.configs import RunConfig, shares
from flextok.training.fit_codec import fit_codec
from flextok.training.losses import metric_error, motion_weights, pixel_metric
from flextok.training.sheets import clip_rows
from flextok.training.trainer import step_rng, train
from flextok.training.validation import validation_clips


@dataclass(frozen=True)
class TokenizerConfig:
    run: RunConfig
    kind: Literal["register", "grid"] = "register"
    vae: Path = Path("runs/vae/weights")
    caches: tuple[Path, ...] = ()
    """Latent caches (python -m flextok.data.latent_cache)."""
    cache_weights: tuple[float, ...] = ()
    finetune: bool = False
    """Second phase: frozen tokens, full attention in the decoder, first frame given half of the time."""
    train_encoder: bool = False
    """Train the encoder in the second phase too: tokens go on changing, and generators have to be trained anew."""
    num_registers: int = 64
    num_free_registers: int = 1
    """Registers that the linear codec leaves to the transformers; all of them is no codec."""
    levels: tuple[int, ...] = (8, 5, 5, 5)
    dim: int = 192
    encoder_depth: int = 4
    decoder_depth: int = 6
    head_dim: int = 64
    regression_steps: int = 1000
    """The first steps train at sigma 1 alone: a regression from the tokens, so that they carry the clip early."""
    regression_share: float = 0.35
    """Share of clips at sigma 1 afterwards."""
    sigma_location: float = 0.6
    """Other clips draw logit(sigma) from a normal with this mean and deviation 1."""
    drop_condition: float = 0.1
    """Share of steps without any token, for guidance."""
    short_clips: float = 0.1
    """Share of steps on fewer latent frames, so that short clips and images can be decoded."""
    budget_weights: tuple[float, ...] = ()
    """How often each budget is drawn, in the order of the model's budgets; equal if empty."""
    motion_strength: float = 1.0
    """How much more errors count where something moves (`motion_weights`)."""
    meaning_weight: float = 0.1
    """Weight of reading the ground truth of Toybox clips from the free registers alone, where caches have labels."""
    meaning_attributes: tuple[str, ...] = (
        "action", "shape", "color", "size", "floor", "sky", "start_x", "start_y", "end_x", "end_y",
    )  # fmt: skip
    """What is read; a few codes cannot hold all of it, so fewer names are read better."""
    fit_codec: bool = False
    """Compute the register tokenizer's linear codec from the caches first; a new model always does. From weights
    that have none yet, all other parts are taken over (`run.init_from`)."""
    num_fit: int = 8000
    """Clips the linear codec is computed from."""
    num_validation: int = 16
    validation_bank: Path | None = None
    """Clip bank to be measured and looked at, of clips that are not trained on; Toybox's validation clips if none."""

    @property
    def frozen_tokens(self) -> bool:
        return self.finetune and not self.train_encoder


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
        x = self.trunk(codes.flatten(1))
        known = labels[:, 0] >= 0
        if not known.any():
            return x.new_zeros(())
        losses = [
            F.cross_entropy(head(x[known]).float(), labels[known, ATTRIBUTES.index(name)]) / math.log(NUM_CLASSES[name])
            for name, head in self.heads.items()
        ]
        return torch.stack(losses).mean()


class TokenizerObjective(nn.Module):
    """Rectified flow on a random prefix: predict the clean latents from their noisy form and the kept tokens.

    Errors count more where something moves. The free registers have a second task: a small head must read from them
    alone what happens in a clip (`flextok.data.toybox_labels`), or they serve sky and floor only. SemanTok
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
            if config.meaning_weight and not config.frozen_tokens:
                t, size = model.config.latent_size[0], model.codec.free
                self.reader = MeaningReader(t * size, config.meaning_attributes)
        weights = np.asarray(config.budget_weights or [1.0] * len(self.budgets))
        if len(weights) != len(self.budgets):
            raise ValueError(f"{len(weights)} budget_weights do not fit the budgets {self.budgets}")
        self.budget_probabilities = weights / weights.sum()
        if config.frozen_tokens:
            for part in frozen:
                part.requires_grad_(False)

    def forward(self, step: int, latents: Tensor, noise: Tensor, sigma: Tensor, labels: Tensor) -> dict[str, Tensor]:
        rng, c = step_rng(self.config.run.seed, step, 1), self.config
        t = int(rng.integers(1, latents.shape[2])) if rng.random() < c.short_clips else latents.shape[2]
        latents, noise = latents[:, :, :t], noise[:, :, :t]
        given = int(c.finetune and t > 1 and rng.random() < 0.5)
        warm = step < c.regression_steps and not c.finetune
        meaning = latents.new_zeros(())
        if not warm and rng.random() < c.drop_condition:
            condition = self.model.unconditional()
        else:
            codes = self._codes(latents, int(rng.choice(self.budgets, p=self.budget_probabilities)))
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
        loss = error.mean() + c.meaning_weight * meaning
        loss_at_one = (error.detach() * at_one).sum() / at_one.sum().clamp(min=1)
        return {"loss": loss, "loss_at_one": loss_at_one, "meaning": meaning}

    def _codes(self, latents: Tensor, budget: int) -> Tensor:
        if not self.config.frozen_tokens:
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
        attention = "full" if c.finetune else "time_causal"
        if c.run.init_from is not None and not c.fit_codec:
            return load_strict(cls, c.run.init_from, decoder_attention=attention)
        torch.manual_seed(c.run.seed)
        shape = tuple(self.latents.shape[2:])
        sizes = {"levels": c.levels, "dim": c.dim, "encoder_depth": c.encoder_depth, "decoder_depth": c.decoder_depth}
        if c.kind == "register":
            sizes |= {"num_registers": c.num_registers, "num_free_registers": c.num_free_registers}
        model = cls(latent_size=shape, head_dim=c.head_dim, decoder_attention=attention, **sizes)
        if c.run.init_from is not None:
            model.load_state_dict(load_file(c.run.init_from / WEIGHTS_NAME), strict=False)
        if isinstance(model, RegisterTokenizer):
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
        items = [(self.caches[s], int(rng.integers(len(self.caches[s])))) for s in sources]
        latents = torch.stack([cache[i] for cache, i in items])
        labels = torch.from_numpy(np.stack([cache.labels[i] for cache, i in items]))
        sigma = torch.from_numpy(rng.normal(c.sigma_location, 1.0, size)).float().sigmoid()
        share = 1.0 if step < c.regression_steps and not c.finetune else c.regression_share
        sigma[torch.from_numpy(rng.random(size) < share)] = 1.0
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
        return {"latents": latents[rows], "noise": noise[rows], "sigma": sigma[rows], "labels": labels[rows]}

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """PSNR per budget for one step (the mean of what the tokens allow) and for eight, against the source clips."""
        scheduler = RectifiedFlowScheduler()
        device = self.model.device  # the VAE stays on the CPU
        noise = torch.randn(self.latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
        latents = self.latents.to(device)
        metrics, rows, used = {}, [self.video[i] for i in range(4)], set()
        for budget in self.module.budgets:
            codes = self.model.quantized_codes(latents, budget)
            used |= set(self.model.quantizer.codes_to_ids(codes).flatten().tolist())
            condition = self.model.condition_on_codes(codes)
            for steps in (1, 8):
                scheduler.set_timesteps(steps, device=device)
                video = self.vae.decode(sample_latents(self.model, scheduler, condition, noise).cpu())
                metrics[f"psnr_k{codes.shape[2]}_s{steps}"] = float(psnr(video, self.video).mean())
                rows += [video[i] for i in range(4)] if steps > 1 else []
        metrics["ids_in_use"] = float(len(used))
        clips = [to_uint8(rows[i]) for i in range(len(rows))]
        by_clip = [clips[row * 4 + column] for column in range(4) for row in range(len(clips) // 4)]
        return metrics, clip_rows(by_clip)

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


def _first_phase(kind: Literal["register", "grid"]) -> TokenizerConfig:
    run = RunConfig(
        Path(f"runs/{kind}"),
        steps=1700,
        batch_size=16,
        optimizer="muon",
        lr=1e-3,
        muon_lr=0.02,
        warmup_steps=50,
        cooldown=0.4,
        ema_decay=0.99,
        evaluate_every=400,
        save_every=200,
    )
    return TokenizerConfig(run, kind, regression_steps=500)


def _second_phase(kind: Literal["register", "grid"]) -> TokenizerConfig:
    first = _first_phase(kind)
    run = replace(
        first.run,
        out=Path(f"runs/{kind}-full"),
        init_from=Path(f"runs/{kind}/weights"),
        steps=250,
        lr=5e-4,
        muon_lr=0.01,
        cooldown=0.8,
        seed=1,
        evaluate_every=125,
    )
    return replace(first, run=run, finetune=True)


def _tiny(kind: Literal["register", "grid"]) -> TokenizerConfig:
    run = RunConfig(
        Path(f"runs/{kind}-tiny"), steps=4, batch_size=4, mixed_precision="no", evaluate_every=4, save_every=2
    )
    return TokenizerConfig(
        run,
        kind,
        num_registers=4,
        dim=32,
        encoder_depth=1,
        decoder_depth=1,
        head_dim=16,
        num_validation=8,
        regression_steps=2,
    )


PRESETS = {
    "register": ("The shipped register tokenizer, first phase", _first_phase("register")),
    "register-full": ("The shipped register tokenizer, second phase", _second_phase("register")),
    "grid": ("The shipped 3D-grid tokenizer, first phase", _first_phase("grid")),
    "grid-full": ("The shipped 3D-grid tokenizer, second phase", _second_phase("grid")),
    "register-tiny": ("A few seconds, for tests", _tiny("register")),
    "grid-tiny": ("A few seconds, for tests", _tiny("grid")),
}


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = tyro.extras.overridable_config_cli(PRESETS)
    train(TokenizerStage(config), config.run, config)


if __name__ == "__main__":
    main()
