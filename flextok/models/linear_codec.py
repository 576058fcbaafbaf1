"""The linear part of the register tokenizer: PCA of latent frames, coded as changes over time.

Nested dropout has one optimum where both networks are linear: the principal components in their order (Rippel et al.,
arXiv:1402.0915). It can be computed instead of trained, so that every register carries something from the first step
and the transformers learn what a linear code cannot say. Registers found by gradient descent alone stopped at the
16th here.
"""

from __future__ import annotations

import torch
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from flextok.models.layers.keep_float32 import KeepFloat32


class LinearCodec(KeepFloat32):
    """States of registers (b, t, K, f): what their codes add up to, linear in the codes of this and of earlier frames.

    The first `num_free` registers are left to the transformers: their state is their code, and it counts for the frame
    through `free_synthesis`, which is trained. The state of register r > num_free is a group of f principal components
    of the frame. It is predicted from the states of registers 0..r in the frame before, and only the difference is
    coded (DPCM: what was quantised is what predicts, so errors do not add up). All of this looks back in time and
    down in r alone: later frames change nothing, and any prefix of the registers decodes.

    Everything but `free_synthesis` is computed in closed form (`flextok.training.fit_codec`) and not trained.
    """

    mean: Tensor
    analysis: Tensor
    synthesis: Tensor
    prediction: Tensor
    scale: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, num_registers: int, code_dim: int, num_free: int, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        c, t, h, w = latent_shape
        kinds, size, states = min(t, 2), c * h * w, num_registers * code_dim  # the first latent frame, and the others
        self.shape, self.num_free, self.code_dim = latent_shape, num_free, code_dim
        self.free_synthesis = nn.Parameter(torch.zeros(kinds, num_free * code_dim, size))
        free = num_free * code_dim
        self.register_buffer("mean", torch.zeros(kinds, size))
        self.register_buffer("analysis", torch.zeros(kinds, size, states - free))
        self.register_buffer("synthesis", torch.zeros(kinds, states - free, size))
        self.register_buffer("prediction", torch.zeros(t - 1, states, states))
        self.register_buffer("scale", torch.ones(t, states))
        self.register_buffer("gain", torch.ones(t, states))
        self.register_buffer("offset", torch.zeros(t, states))

    @property
    def free(self) -> int:
        """Number of state dimensions of the free registers."""
        return self.num_free * self.code_dim

    @apply_forward_hook
    def predicted(self, frame: int, before: Tensor | None) -> Tensor:
        """States (b, K f) of a frame as the frame before has them; zero for the first one."""
        if before is None:
            return self.scale.new_zeros(1, self.scale.shape[1])
        return before @ self.prediction[frame - 1, : before.shape[1], : before.shape[1]]

    @apply_forward_hook
    def innovation(self, frame: int, flat: Tensor, free_codes: Tensor, predicted: Tensor) -> Tensor:
        """What is left to code of a latent frame `flat` (b, c h w): (b, K f), about unit variance, zero for free ones.

        free_codes: (b, num_free f), the codes of this frame's free registers.
        """
        kind = min(frame, 1)
        rest = flat - self.mean[kind] - free_codes @ self.free_synthesis[kind]
        components = rest @ self.analysis[kind]
        value = (components - predicted[:, self.free :]) / self.scale[frame, self.free :]
        return torch.cat([torch.zeros_like(free_codes), value], dim=1)

    @apply_forward_hook
    def state(self, frame: int, codes: Tensor, predicted: Tensor) -> Tensor:
        """States (b, n) after the codes (b, n) of a frame are known; n = k f, any prefix."""
        n, free = codes.shape[1], self.free
        value = predicted[:, :n] + self.gain[frame, :n] * codes + self.offset[frame, :n]
        return torch.cat([codes[:, :free], value[:, free:]], dim=1)

    @apply_forward_hook
    def reconstruct(self, codes: Tensor) -> Tensor:
        """The linear estimate of latents (b, c, t, h, w) from the codes (b, t, k, f) of a prefix of registers."""
        c, _, h, w = self.shape
        before, frames = None, []
        with torch.autocast(codes.device.type, enabled=False):
            for frame, values in enumerate(codes.flatten(2).float().unbind(1)):
                before = self.state(frame, values, self.predicted(frame, before))
                kind = min(frame, 1)
                free, rest = before[:, : self.free], before[:, self.free :]
                flat = self.mean[kind] + free @ self.free_synthesis[kind, : free.shape[1]]
                frames.append(flat + rest @ self.synthesis[kind, : rest.shape[1]])
        return torch.stack(frames, dim=1).unflatten(2, (c, h, w)).transpose(1, 2)
