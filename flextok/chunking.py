"""Frame counts and chunks: how pixel frames, latent frames and overlapping chunks relate (arXiv:2604.12887)."""

from __future__ import annotations

from dataclasses import dataclass


def num_latent_frames(num_frames: int, ratio: int = 4) -> int:
    """t = 1 + (T - 1) / ratio: the first latent frame stands for one pixel frame, each later one for `ratio`.

    Raises:
        ValueError: T is not 1 + ratio * n; the message names the nearest counts that are.
    """
    if num_frames < 1 or (num_frames - 1) % ratio:
        low = 1 + ratio * max((num_frames - 1) // ratio, 0)
        raise ValueError(f"num_frames={num_frames} must be 1 + {ratio}*n; nearest: {low} or {low + ratio}")
    return 1 + (num_frames - 1) // ratio


@dataclass(frozen=True)
class ChunkPlan:
    """How a long clip is cut into chunks of `chunk_frames` that share `overlap` pixel frames with their neighbour.

    Chunk i shows pixel frames [i * stride, i * stride + chunk_frames). Of chunks 1.. the first `overlap_latent` latent
    frames repeat what the chunk before holds, so they are not stored: 81 frames are 5 chunks and 21 latent frames.
    """

    chunk_frames: int = 17
    overlap: int = 1
    ratio: int = 4

    def __post_init__(self) -> None:
        if self.chunk_frames < 1:
            raise ValueError(f"chunk_frames={self.chunk_frames} must be at least 1")
        if not 0 <= self.overlap < self.chunk_frames:
            raise ValueError(f"overlap={self.overlap} must be in 0..{self.chunk_frames - 1}")
        if self.overlap:
            num_latent_frames(self.overlap, self.ratio)

    @property
    def stride(self) -> int:
        return self.chunk_frames - self.overlap

    @property
    def chunk_latent(self) -> int:
        """Latent frames of a chunk; frames that do not fill the last one count as if they did not exist."""
        return (self.chunk_frames - 1) // self.ratio + 1

    @property
    def overlap_latent(self) -> int:
        return num_latent_frames(self.overlap, self.ratio) if self.overlap else 0

    def whole(self, num_frames: int) -> int:
        """Pixel frames of the chunks that cover so many: chunk_frames + stride * n."""
        return self.chunk_frames + max(-(-(num_frames - self.chunk_frames) // self.stride), 0) * self.stride

    def frame_slices(self, num_frames: int) -> list[slice]:
        """Pixel frames of each chunk.

        Raises:
            ValueError: num_frames is not chunk_frames + n * stride.
        """
        extra = num_frames - self.chunk_frames
        if extra < 0 or extra % self.stride:
            low = self.chunk_frames + max(extra, 0) // self.stride * self.stride
            raise ValueError(
                f"num_frames={num_frames} must be {self.chunk_frames} + {self.stride}*n; "
                f"nearest: {low} or {low + self.stride}"
            )
        return [slice(i * self.stride, i * self.stride + self.chunk_frames) for i in range(extra // self.stride + 1)]

    def latent_slices(self, t: int) -> list[slice]:
        """Latent frames of the token grid that belong to each chunk: the first chunk's all, later ones' new ones.

        Raises:
            ValueError: t is not chunk_latent + n * (chunk_latent - overlap_latent).
        """
        step = self.chunk_latent - self.overlap_latent
        extra = t - self.chunk_latent
        if extra < 0 or extra % step:
            raise ValueError(f"{t} latent frames must be {self.chunk_latent} + {step}*n")
        starts = [0] + [self.chunk_latent + i * step for i in range(extra // step)]
        return [slice(start, self.chunk_latent + i * step) for i, start in enumerate(starts)]
