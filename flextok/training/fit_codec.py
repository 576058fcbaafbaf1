"""The closed-form part of a register tokenizer: see `flextok.models.linear_codec`."""

from __future__ import annotations

import torch
from torch import Tensor

from flextok.models.register_tokenizer import RegisterTokenizer
from flextok.training.losses import metric_map


@torch.no_grad()
def fit_codec(model: RegisterTokenizer, latents: Tensor, metric: Tensor) -> None:
    """Compute the linear codec of `model` from latents (n, c, t, h, w) of training clips.

    Components are principal under the metric (c, c) (`pixel_metric`), so their order is that of the squared pixel
    error they explain. Frames are fitted one after another, each on what the quantised codes of the frame before allow.
    The free registers' codes are taken as the encoder has them now.
    """
    codec, quantizer, f = model.codec, model.quantizer, model.codec.code_dim
    free = codec.free
    states = codec.scale.shape[1]
    frames = latents.float().transpose(1, 2)  # (n, t, c, h, w)
    free_codes = _free_codes(model, latents)  # (n, t, free)
    inverse = torch.linalg.inv(metric)
    components = []
    for kind, chosen in enumerate((slice(0, 1), slice(1, None))):
        x, q = frames[:, chosen].flatten(0, 1), free_codes[:, chosen].flatten(0, 1)
        if not len(x):
            break
        flat = x.flatten(1)
        codec.mean[kind] = flat.mean(0)
        flat = flat - codec.mean[kind]
        codec.free_synthesis[kind] = least_squares(q, flat)
        rest = (flat - q @ codec.free_synthesis[kind]).unflatten(1, x.shape[1:])
        whitened = metric_map(rest, metric).flatten(1)  # squared length = pixel error
        _, basis = torch.linalg.eigh(whitened.T @ whitened / len(whitened))
        basis = basis.flip(1)[:, : states - free]  # (c h w, components), the largest first
        unflat = basis.T.unflatten(1, x.shape[1:])
        codec.synthesis[kind] = metric_map(unflat, inverse).flatten(1)
        codec.analysis[kind] = metric_map(unflat, metric.T).flatten(1).T
        components.append((whitened @ basis).unflatten(0, (len(frames), -1)))
    target = torch.cat(components, dim=1)  # (n, t, states - free)

    before = None
    for frame in range(target.shape[1] if free < states else 0):
        if before is not None:
            codec.prediction[frame - 1] = _prediction(before, target[:, frame], f, free)
        predicted = codec.predicted(frame, before)
        rest = target[:, frame] - predicted[:, free:]
        scale = rest.std(0).clamp(min=1e-6)
        codes = quantizer.quantize((rest / scale).unflatten(1, (-1, f))).flatten(1)
        gain = (codes * rest).mean(0) / codes.square().mean(0).clamp(min=1e-6)
        codec.scale[frame, free:], codec.gain[frame, free:] = scale, gain
        codec.offset[frame, free:] = (rest - gain * codes).mean(0)
        before = codec.state(frame, torch.cat([free_codes[:, frame], codes], dim=1), predicted)
    # The decoder predicts what the linear reconstruction lacks; nothing, to begin with.
    torch.nn.init.zeros_(model.decoder.head.weight)


def _free_codes(model: RegisterTokenizer, latents: Tensor) -> Tensor:
    """Codes (n, t, num_free f) of the free registers."""
    model.eval()
    batches = [model.quantized_codes(part.float(), model.codec.num_free).flatten(2) for part in latents.split(64)]
    model.train()
    return torch.cat(batches)


def _prediction(before: Tensor, target: Tensor, code_dim: int, free: int) -> Tensor:
    """States of a frame from those before, each register from registers up to its own alone: (K f, K f)."""
    size = before.shape[1]
    weights = before.new_zeros(size, size)
    for start in range(free, size, code_dim):
        stop = start + code_dim
        weights[:stop, start:stop] = least_squares(before[:, :stop], target[:, start - free : stop - free])
    return weights


def least_squares(inputs: Tensor, targets: Tensor, ridge: float = 1e-3) -> Tensor:
    """Weights (i, o) that map inputs (n, i) to targets (n, o), with a little ridge."""
    gram = inputs.T @ inputs
    gram += ridge * gram.diagonal().mean().clamp(min=1e-6) * torch.eye(len(gram), device=gram.device)
    return torch.linalg.solve(gram, inputs.T @ targets)
