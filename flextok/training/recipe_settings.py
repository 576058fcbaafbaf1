"""What the recipe makes its weights from, and for how long: the one file to read, and to change, before a training.

Sizes of the networks and their losses stand with the stages (`train_vae`, `train_tokenizer`, ...); here are the
amounts, which depend on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Bank:
    """A set of clips, rendered once."""

    name: str
    clips: int
    first_seed: int = 0
    """Of Toybox's training seeds; banks do not share any."""
    num_actions: int = 1
    """5 are the 81 frames of long video."""
    folder: Path | None = None
    """Of videos and photographs, instead of Toybox; a bank whose folder is not there is left out."""


@dataclass(frozen=True)
class Work:
    """How long a stage trains."""

    steps: int
    batch_size: int
    """Clips a step."""

    @property
    def clips(self) -> int:
        return self.steps * self.batch_size


@dataclass(frozen=True)
class Settings:
    banks: tuple[Bank, ...]
    scorer: Work
    vae: Work
    read: Work
    joint: Work
    """Registers and the grid alike, and so is `decoder`."""
    decoder: Work
    generator: Work
    """Batch sizes are of whole sequences; shorter ones take more clips a step."""
    grid_generator: Work
    share_of_photos: float = 0.1
    """How often a clip is of a folder and not of Toybox, for VAE and tokenizers."""
    share_of_long: float = 0.05
    """How often one is a chunk of a long clip."""
    tiny: bool = False
    """Networks of a few channels."""


PHOTOS = Path("/usr/share/backgrounds")
"""Photographs that move keep the VAE general, so that clips of one's own come back recognisable. Debian's packages
gnome-backgrounds, mate-backgrounds and lomiri-wallpapers-16.04 and -20.04 fill this folder."""

# Two CPU cores with bfloat16, overnight at most; without bfloat16 three times as long.
EMBEDDED = Settings(
    banks=(
        Bank("toybox0", 12_000),
        Bank("toybox1", 12_000, first_seed=12_000),
        Bank("long", 500, first_seed=1_000_000, num_actions=5),
        Bank("photos", 1_500, folder=PHOTOS),
    ),
    scorer=Work(4_000, 32),
    vae=Work(8_000, 8),
    read=Work(2_000, 48),
    joint=Work(2_500, 48),
    decoder=Work(6_000, 48),
    generator=Work(800, 16),
    grid_generator=Work(800, 16),
)

SETTINGS: dict[str, Settings] = {
    "embedded": EMBEDDED,
    # With `--begin assets`: what is added to the set above, on clips that it has not seen.
    "embedded-more": replace(
        EMBEDDED,
        banks=(
            Bank("toybox2", 12_000, first_seed=24_000),
            Bank("toybox3", 12_000, first_seed=36_000),
            Bank("long1", 500, first_seed=1_000_500, num_actions=5),
            Bank("photos", 1_500, folder=PHOTOS),
        ),
        decoder=Work(8_000, 48),
        generator=Work(1_600, 16),
        grid_generator=Work(1_600, 16),
    ),
    # One H100 with 16 CPU cores, rendering included: planned for 25 minutes, not measured. Networks of this size keep
    # the CPU that launches them busier than the GPU, so batches are large and steps are few.
    "embedded-cuda": Settings(
        banks=(
            *(Bank(f"toybox{i}", 12_000, first_seed=12_000 * i) for i in range(4)),
            Bank("long", 1_000, first_seed=1_000_000, num_actions=5),
            Bank("photos", 4_000, folder=PHOTOS),
        ),
        scorer=Work(2_000, 96),
        vae=Work(4_000, 48),
        read=Work(1_500, 512),
        joint=Work(2_500, 512),
        decoder=Work(6_000, 512),
        generator=Work(2_000, 64),
        grid_generator=Work(2_000, 64),
    ),
    # Seconds, for tests: every stage, nothing learnt.
    "tiny": Settings(
        banks=(Bank("toybox0", 12), Bank("long", 2, first_seed=1_000_000, num_actions=2)),
        scorer=Work(4, 4),
        vae=Work(4, 2),
        read=Work(4, 4),
        joint=Work(4, 4),
        decoder=Work(4, 4),
        generator=Work(4, 2),
        grid_generator=Work(4, 2),
        share_of_long=0.2,
        tiny=True,
    ),
}
