"""`python -m flextok.bench released --config tiny|mid|FILE`: how fast a released-style checkpoint runs here.

Times of tokenizing and of guided decoding steps, beside a plain path with the same weights (`flextok.bench.plain`), as
share of this machine's own matmul peak; bfloat16 beside float32; memory. FILE is a config.json or a checkpoint folder;
where there are no weights, random ones are made. Writes assets/results/released_NAME.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from flextok.bench import results
from flextok.bench.plain import plain_encode, plain_step
from flextok.bench.synthetic import MID, TINY, synthetic_config, write_checkpoint
from flextok.checks import bf16_is_fast
from flextok.metrics.reconstruction import psnr
from flextok.pipelines.pipeline_tokenizer import VideoTokenizerPipeline
from flextok.released.denoiser import ChunkTokens, GraphDenoiser
from flextok.released.layout import plan_segments
from flextok.released.load import CONFIG_NAME, WEIGHTS_NAME, load_released
from flextok.released.vae import VAESize

NAMED = {"tiny": TINY, "mid": MID}
PEAK_SIZES = (512, 1024, 2048)
BUDGETS = (1, 16)
QUALITY_STEPS = 4
MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Seconds of the fastest of several calls, and what it computed."""

    seconds: float
    flops: float

    def show(self, peak: float) -> str:
        rate = self.flops / self.seconds / 1e9
        work = f"{self.flops / 1e9:8.1f} GFLOP  {rate:6.1f} GFLOP/s"
        return f"{self.seconds * 1e3:9.1f} ms  {work}  {rate / peak:5.0%} of peak"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flextok.bench released", description=__doc__)
    parser.add_argument("--config", default="mid", help="tiny, mid, a config.json or a checkpoint folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = prepare(options.config, Path(folder))
            report = measure(source, torch.device(options.device), options.repeats)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
    name = options.config if options.config in NAMED else Path(options.config).resolve().stem
    print(f"written to {results.write(f'released_{name}', {'config': name, **report})}")
    return 0


def prepare(config: str, folder: Path) -> Path:
    """A checkpoint folder for what was asked for; random weights where there are none."""
    if config in NAMED:
        write_checkpoint(folder, synthetic_config(NAMED[config]), NAMED[config].vae)
        return folder
    path = Path(config)
    checkpoint = path if path.is_dir() else path.parent
    if (checkpoint / WEIGHTS_NAME).is_file() and (path.is_dir() or path.name == CONFIG_NAME):
        return checkpoint
    write_checkpoint(folder, json.loads(path.read_text(encoding="utf-8")), VAESize())
    return folder


def measure(source: Path, device: torch.device, repeats: int) -> dict[str, Any]:
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if not bf16_is_fast(device):  # emulated: the largest products would take minutes
        del dtypes["bfloat16"]
    peaks = {name: matmul_peak(dtype, device) for name, dtype in dtypes.items()}
    print("matmul peak: " + ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in peaks.items()))
    before = resident_peak()
    full = load_released(source, device=device, dtype=torch.float32)
    inputs = Inputs.draw(full)
    report: dict[str, Any] = {"peaks_gflops": peaks, "estimated_mib": full.memory.total / MIB}
    report["tokenize"] = measure_tokenizing(full, inputs, peaks["float32"], repeats)
    report["guided_step"] = measure_steps(full, inputs, peaks["float32"], repeats)
    report["vae_decode"] = line(
        "VAE decode", lambda: full.tokenizer.vidtok.decode(inputs.noise), peaks["float32"], repeats
    )
    report["float32_peak_mib"] = (resident_peak() - before) / MIB
    half = load_released(source, device=device, dtype=torch.bfloat16)
    report["bfloat16"] = compare_precision(full, half, inputs, repeats)
    print(
        f"memory: estimated {report['estimated_mib']:.0f} MiB, "
        f"peak {report['float32_peak_mib']:.0f} MiB with the plain path"
    )
    return report


@dataclass(frozen=True)
class Inputs:
    """One clip, its tokens and start noise."""

    video: Tensor
    codes: Tensor
    noise: Tensor

    @classmethod
    def draw(cls, pipeline: VideoTokenizerPipeline) -> Inputs:
        info, model = pipeline.info, pipeline.tokenizer
        t, h, w = model.latent_size or (5, info.height // 8, info.width // 8)
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, info.num_ids, (1, t, info.num_registers), generator=generator)
        return cls(
            video=torch.rand(1, 3, 4 * t - 3, 8 * h, 8 * w, generator=generator).to(model.device) * 2 - 1,
            codes=model.quantizer.ids_to_codes(ids.to(model.device)),
            noise=torch.randn(1, 16, t, h, w, generator=generator).to(model.device),
        )


def measure_tokenizing(pipeline: VideoTokenizerPipeline, inputs: Inputs, peak: float, repeats: int) -> dict[str, Any]:
    model = pipeline.tokenizer

    def ours() -> Tensor:
        return model.unquantized(model.vidtok.encode(inputs.video).mean)

    def plain() -> Tensor:
        model.set_plain(True)
        try:
            return model.unquantized(plain_encode(model.vidtok, inputs.video).mean)
        finally:
            model.set_plain(False)

    plan_segments.cache_clear()
    first, plain_first = once(ours), once(plain)
    error = float((ours() - plain()).abs().max())
    encode = timed(ours, repeats)
    latents = model.vidtok.encode(inputs.video).mean
    print(f"tokenize, whole        {encode.show(peak)}  {inputs.codes[..., 0].numel() / encode.seconds:.0f} tokens/s")
    vae = line("  VAE encode", lambda: model.vidtok.encode(inputs.video), peak, repeats)
    trunk = line("  transformer encode", lambda: model.unquantized(latents), peak, repeats)
    again = timed(plain, repeats)
    print(
        f"  first call {first:.2f} s, plain path {plain_first:.2f} s: {first / plain_first:.0%}; "
        f"largest difference {error:.1e}"
    )
    return {
        "seconds": encode.seconds,
        "first_seconds": first,
        "plain_seconds": again.seconds,
        "plain_first_seconds": plain_first,
        "first_share_of_plain": first / plain_first,
        "tokens_per_second": inputs.codes[..., 0].numel() / encode.seconds,
        "vae": vae,
        "transformer": trunk,
        "largest_difference": error,
    }


def measure_steps(pipeline: VideoTokenizerPipeline, inputs: Inputs, peak: float, repeats: int) -> dict[str, Any]:
    """A guided step (conditional and unconditional) at several budgets, and two plain full passes in one batch."""
    model, total = pipeline.tokenizer, pipeline.info.num_registers
    report = {}
    for keep_k in sorted({k for k in BUDGETS if k < total} | {total}):
        tokens = ChunkTokens(inputs.codes, torch.tensor([keep_k], device=model.device))
        denoise = model.denoise(tokens, torch.tensor([1.0, 0.5], device=model.device), guided=True)

        def step(denoise: GraphDenoiser = denoise) -> Tensor:
            told, untold = denoise(inputs.noise, 1)
            assert untold is not None
            return torch.cat([told, untold])

        def plain(tokens: ChunkTokens = tokens) -> Tensor:
            return torch.cat(plain_step(model, tokens, inputs.noise, 0.5))

        error = float((step() - plain()).abs().max())
        ours, theirs = timed_in_turn(step, plain, repeats)
        share = ours.seconds / theirs.seconds
        print(f"guided step, k = {keep_k:<5} {ours.show(peak)}")
        print(f"  two plain passes     {theirs.show(peak)}  -> {share:.0%}, largest difference {error:.1e}")
        report[str(keep_k)] = {
            "seconds": ours.seconds,
            "plain_seconds": theirs.seconds,
            "share_of_plain": share,
            "gflop": ours.flops / 1e9,
            "plain_gflop": theirs.flops / 1e9,
            "largest_difference": error,
        }
    return report


def compare_precision(
    full: VideoTokenizerPipeline, half: VideoTokenizerPipeline, inputs: Inputs, repeats: int
) -> dict[str, Any]:
    """bfloat16 beside float32: the same few steps from the same noise, by time and by PSNR of the videos."""
    ids = full.tokenizer.quantizer.codes_to_ids(inputs.codes)
    t, h, w = inputs.noise.shape[2:]

    def decode(pipeline: VideoTokenizerPipeline) -> Tensor:
        return pipeline.detokenize(
            ids,
            num_inference_steps=QUALITY_STEPS,
            guidance_scale=2.0,
            apg=None,
            latents=inputs.noise,
            latent_size=(t, h, w),
        ).frames

    def both(pipeline: VideoTokenizerPipeline) -> tuple[Tensor, float, float]:
        frames = decode(pipeline)
        encoding = timed(lambda: pipeline.tokenizer.vidtok.encode(inputs.video), repeats, count=False).seconds
        return frames, encoding, timed(lambda: decode(pipeline), 1, count=False).seconds

    exact, encode_full, decode_full = both(full)
    close, encode_half, decode_half = both(half)
    quality = float(psnr(close.clamp(-1, 1), exact.clamp(-1, 1)).mean())
    print(f"bfloat16: VAE encode {encode_half:.2f} s ({encode_full:.2f} s in float32), ", end="")
    print(
        f"{QUALITY_STEPS} guided steps and VAE decode {decode_half:.2f} s ({decode_full:.2f} s), PSNR {quality:.1f} dB"
    )
    return {
        "vae_encode_seconds": encode_half,
        "float32_vae_encode_seconds": encode_full,
        "decode_seconds": decode_half,
        "float32_decode_seconds": decode_full,
        "steps": QUALITY_STEPS,
        "psnr_db": quality,
        "estimated_mib": half.memory.total / MIB,
    }


def line(name: str, function: Callable[[], object], peak: float, repeats: int) -> dict[str, float]:
    timing = timed(function, repeats)
    print(f"{name:<22} {timing.show(peak)}")
    return {"seconds": timing.seconds, "gflop": timing.flops / 1e9}


@torch.no_grad()
def once(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - started


def timed(function: Callable[[], object], repeats: int, count: bool = True) -> Timing:
    """The fastest of `repeats` calls after one that warms up (and is counted)."""
    flops = 0.0
    if count:
        flops = count_flops(function)
    else:
        once(function)
    return Timing(min(once(function) for _ in range(repeats)), flops)


def timed_in_turn(a: Callable[[], object], b: Callable[[], object], repeats: int) -> tuple[Timing, Timing]:
    """Two timings whose calls alternate, so that whatever else the machine does falls on both."""
    flops = count_flops(a), count_flops(b)
    seconds = [(once(a), once(b)) for _ in range(repeats)]
    return Timing(min(first for first, _ in seconds), flops[0]), Timing(min(last for _, last in seconds), flops[1])


@torch.no_grad()
def count_flops(function: Callable[[], object]) -> float:
    """Multiplications and additions of matrix products, convolutions and attention."""
    mapping = {
        torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1],
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: (
            2 * q[0] * q[1] * q[2] * k[2] * (q[3] + v[3])
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        function()
    return float(counter.get_total_flops())


@torch.no_grad()
def matmul_peak(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP/s of the fastest square product: what this machine can reach, not what its data sheet says."""
    best = 0.0
    for n in PEAK_SIZES:
        a, b = torch.randn(n, n, device=device).to(dtype), torch.randn(n, n, device=device).to(dtype)
        seconds = timed(lambda a=a, b=b: a @ b, 3, count=False).seconds  # type: ignore[misc]
        best = max(best, 2 * n**3 / seconds / 1e9)
    return best


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def resident_peak() -> int:
    """Bytes: the most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
