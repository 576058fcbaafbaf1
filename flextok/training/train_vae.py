"""Train the causal video VAE: `accelerate launch --cpu -m flextok.training.train_vae embedded ...`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flextok.data.datasets import ClipBank
from flextok.loading.checkpoint import load_strict
from flextok.metrics.reconstruction import psnr
from flextok.models.autoencoder_causal_video import AutoencoderCausalVideo
from flextok.training.configs import RunConfig, compiled, shares
from flextok.training.sheets import clip_rows
from flextok.training.trainer import step_rng, train_preset
from flextok.training.validation import validation_clips
from flextok.video.pixels import to_float, to_uint8


@dataclass(frozen=True)
class VAEConfig:
    run: RunConfig
    banks: tuple[Path, ...] = ()
    """Clip banks (python -m flextok.data.make_bank)."""
    bank_weights: tuple[float, ...] = ()
    """How often each bank is drawn from; equal if empty."""
    num_frames: tuple[int, ...] = (9, 9, 9, 17)
    """A step trains on windows of one of these lengths, drawn uniformly."""
    num_validation: int = 24
    validation_bank: Path | None = None
    """Clip bank to be measured and looked at, of clips that are not trained on; Toybox's validation clips if none."""
    encoder_widths: tuple[int, int] = (80, 128)
    decoder_widths: tuple[int, int] = (112, 192)
    encoder_blocks: tuple[int, int] = (2, 2)
    decoder_blocks: tuple[int, int] = (3, 3)
    log_mse_weight: float = 0.03
    """PSNR is a logarithm of the squared error, so this term serves it on easy clips as much as on hard ones."""
    gradient_weight: float = 0.5
    kl_weight: float = 1e-4


class VAEObjective(nn.Module):
    """L1 + log MSE of each clip + L1 of spatial and temporal differences + a slight KL."""

    def __init__(self, vae: AutoencoderCausalVideo, config: VAEConfig) -> None:
        super().__init__()
        self.vae, self.config = vae, config
        # A step of 8 clips of 9 frames on one core with bfloat16: 0.56 s, compiled 0.27 s.
        self.encode, self.decode = compiled(vae.encode, config.run), compiled(vae.decode, config.run)

    def forward(self, step: int, video: Tensor) -> dict[str, Tensor]:
        generator = torch.Generator(video.device).manual_seed(self.config.run.seed * 1_000_003 + step)
        posterior = self.encode(video)
        reconstruction = self.decode(posterior.sample(generator))
        error = reconstruction - video
        l1, mse = error.abs().mean(), error.square().mean(dim=(1, 2, 3, 4))  # (), (b,)
        gradient = torch.stack([error.diff(dim=d).abs().mean() for d in (2, 3, 4)]).sum() / 3
        kl = 0.5 * (posterior.mean.square() + posterior.logvar.exp() - 1 - posterior.logvar).mean()
        c = self.config
        log_mse = (mse + 1e-5).log().mean()
        loss = l1 + c.log_mse_weight * log_mse + c.gradient_weight * gradient + c.kl_weight * kl
        return {"loss": loss, "l1": l1, "mse": mse.mean(), "kl": kl}


class VAEStage:
    def __init__(self, config: VAEConfig) -> None:
        self.config = config
        if config.run.init_from is not None:
            self.vae = load_strict(AutoencoderCausalVideo, config.run.init_from)
        else:
            torch.manual_seed(config.run.seed)
            self.vae = AutoencoderCausalVideo(
                encoder_widths=config.encoder_widths,
                decoder_widths=config.decoder_widths,
                encoder_blocks=config.encoder_blocks,
                decoder_blocks=config.decoder_blocks,
            )
        self.module = VAEObjective(self.vae.to(memory_format=torch.channels_last), config)
        self.banks = [ClipBank(folder) for folder in config.banks]
        self.probabilities = shares("banks", len(self.banks), config.bank_weights)
        self.validation = validation_clips(config.num_validation, 6, config.validation_bank)

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        rng = step_rng(self.config.run.seed, step)
        length = int(rng.choice(self.config.num_frames))
        clips = []
        for _ in range(self.config.run.batch_size):
            bank = self.banks[int(rng.choice(len(self.banks), p=self.probabilities))]
            clip = bank[int(rng.integers(len(bank)))]
            start = int(rng.integers(len(clip) - length + 1))
            clip = clip[start : start + length]
            clip = clip[:, :, ::-1] if rng.random() < 0.5 else clip
            clips.append(clip[::-1] if rng.random() < 0.25 else clip)
        return {"video": to_float(np.stack(clips[rows]))}

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        device = self.vae.device
        parts = [self.vae.decode(self.vae.encode(v.to(device)).mean).cpu() for v in self.validation.split(8)]
        reconstruction = torch.cat(parts)
        metrics = {"psnr": float(psnr(reconstruction, self.validation).mean())}
        pairs = [clip for i in range(6) for clip in (self.validation[i], reconstruction[i])]
        return metrics, clip_rows([to_uint8(clip) for clip in pairs], every=4)

    def save(self, folder: Path) -> None:
        """Weights with the latents' statistics over training clips in the config, so that later stages need none."""
        latents = []
        for index in range(32):
            video = self.batch(10_000_000 + index, slice(0, 8))["video"].to(self.vae.device)
            latents.append(self.vae.encode(video).mean)
        shift, scale = self.vae._latents_statistics(latents[0])
        raw = torch.cat([(x * scale + shift).transpose(0, 1).flatten(1) for x in latents], dim=1)  # (c, n)
        before = dict(mean=self.vae.config.latents_mean, std=self.vae.config.latents_std)
        self.vae.register_to_config(latents_mean=raw.mean(1).tolist(), latents_std=raw.std(1).tolist())
        self.vae.save_pretrained(folder)
        self.vae.register_to_config(latents_mean=before["mean"], latents_std=before["std"])


PRESETS = {
    "embedded": (
        "The shipped VAE",
        VAEConfig(
            RunConfig(
                Path("runs/vae"),
                steps=1400,
                batch_size=8,
                optimizer="muon",
                lr=1e-3,
                muon_lr=0.02,
                warmup_steps=30,
                cooldown=0.6,
                ema_decay=0.99,
                evaluate_every=300,
                save_every=300,
            )
        ),
    ),
    "tiny": (
        "A few seconds, for tests",
        VAEConfig(
            RunConfig(
                Path("runs/vae-tiny"),
                steps=4,
                batch_size=2,
                mixed_precision="no",
                compile=False,
                evaluate_every=4,
                save_every=2,
            ),
            encoder_widths=(8, 8),
            decoder_widths=(8, 8),
            encoder_blocks=(1, 1),
            decoder_blocks=(1, 1),
            num_validation=8,
        ),
    ),
}


if __name__ == "__main__":
    train_preset(PRESETS, VAEStage)
