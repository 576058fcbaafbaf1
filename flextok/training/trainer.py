"""The training loop that every stage shares, on Accelerate: one CPU, one GPU or many processes with the same code.

Everything random in step s follows from (seed, s), so a run that resumes at step s continues exactly as if it had
never stopped, and the global batch of a step is the same clips for any number of processes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import tyro
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, parse_flag_from_env, set_seed
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from flextok.checks import bf16_is_fast
from flextok.training.configs import RunConfig
from flextok.training.muon import Muon

logger = logging.getLogger(__name__)
BEFORE_COOLDOWN = "before-cooldown"
"""What the state at the end of the full learning rate is called: it is kept, so that a run can be prolonged."""


class Stage(Protocol):
    """What a stage brings: a module whose forward gives losses, its batches, and a way to look at it."""

    @property
    def module(self) -> nn.Module:
        """forward(step=int, **batch) -> dict of scalar tensors, of which "loss" is minimised."""
        ...

    def batch(self, step: int, rows: slice) -> dict[str, Tensor]:
        """The rows of step's global batch, on the CPU; depends on nothing but (seed, step)."""
        ...

    def evaluate(self) -> tuple[dict[str, float], np.ndarray | None]:
        """Validation metrics and a sample sheet (uint8 (H, W, 3)); called with EMA weights in place."""
        ...

    def save(self, folder: Path) -> None:
        """Write the weights for use; called with EMA weights in place."""
        ...


class _Progress:
    """The step counter, as an object that Accelerate saves with the state."""

    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


def step_rng(seed: int, step: int, *more: int) -> np.random.Generator:
    """The generator of one step. Dropout alone draws from torch's own, whose state is saved with a run's."""
    return np.random.default_rng((seed, step, *more))


def require_same_start(run: RunConfig) -> None:
    """Raise ValueError where the run in `run.out` has another seed or began from other weights than are asked for."""
    try:
        before = json.loads((run.out / "config.json").read_text())["run"]
    except (OSError, ValueError, KeyError):
        return  # nothing is known of it
    for name, asked in (("seed", str(run.seed)), ("init_from", str(run.init_from))):
        there = str(before.get(name))
        if there != asked:
            raise ValueError(
                f"{run.out} holds a run with {name}={there}, and {name}={asked} is asked for; give another --run.out"
            )


def learning_rate_factor(step: int, run: RunConfig) -> float:
    """Linear warm-up, constant, linear cool-down to 0."""
    up = min(1.0, (step + 1) / max(run.warmup_steps, 1))
    down = (run.steps - step) / max(run.steps * run.cooldown, 1)
    return max(0.0, min(up, down, 1.0))


def train(stage: Stage, run: RunConfig, config: object, deadline: float | None = None) -> bool:
    """Run the stage to `run.steps`, from the newest state in `run.out` if there is one.

    Args:
        deadline: of `time.monotonic()`; the step under way then is the last one of this call, and its state is saved.

    Returns:
        Whether the run has ended; False if the deadline came first.

    Raises:
        ValueError: the batch is not divisible by the number of processes; `run.out` holds a run that began otherwise.
    """
    if run.threads:
        torch.set_num_threads(run.threads)
    refuse_unsupported_launch()
    # As Accelerator asks for it: a plain PartialState() would take every process of a CPU launch for the only one.
    device = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device
    accelerator = Accelerator(
        mixed_precision=chosen_precision(run, device),
        step_scheduler_with_optimizer=False,
        # A step without any token (for guidance) leaves the encoder out, and a short prefix some registers.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if run.batch_size % accelerator.num_processes:
        raise ValueError(f"batch_size={run.batch_size} must be divisible by {accelerator.num_processes} processes")
    report_processes(accelerator)
    set_seed(run.seed)
    module = stage.module
    ema = EMAModel(module.parameters(), decay=run.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
    optimizers = [accelerator.prepare(o) for o in make_optimizers(module, run)]
    progress = _Progress()
    trained = accelerator.prepare(module)
    accelerator.register_for_checkpointing(progress, ema)
    run.out.mkdir(parents=True, exist_ok=True)
    _resume(accelerator, run, optimizers, progress)
    ema.to(accelerator.device)  # a state comes on the CPU
    if accelerator.is_main_process:
        (run.out / "config.json").write_text(json.dumps(asdict(config), default=str, indent=1))  # type: ignore[call-overload]
    trained.train()  # weights that were loaded come in eval mode
    share = run.batch_size // accelerator.num_processes
    rows = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    meter = _Meter(run, progress.step, accelerator.is_main_process)
    saved, stopped = time.monotonic(), False
    for step, batch in _batches(stage, range(progress.step, run.steps), rows, accelerator.device):
        losses = trained(step=step, **batch)
        accelerator.backward(losses["loss"])
        if run.max_grad_norm:
            accelerator.clip_grad_norm_(module.parameters(), run.max_grad_norm)
        factor = learning_rate_factor(step, run)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ema.step(module.parameters())
        progress.step = step + 1
        last = progress.step == run.steps
        meter.update(
            progress.step, {k: accelerator.gather(v.detach()).mean().item() for k, v in losses.items()}, factor
        )
        # Evaluated first: a run that is killed here goes on from the state before, and still writes its weights.
        if (last or progress.step % run.evaluate_every == 0) and accelerator.is_main_process:
            with ema_weights(ema, module):
                evaluate(stage, run, progress.step, meter)
        now = _common_time(accelerator)
        stopped = deadline is not None and now > deadline
        if last or stopped or progress.step % run.save_every == 0 or now - saved > 60 * run.save_minutes:
            save_state(accelerator, run.out, progress.step)
            saved = now
        if progress.step == cooldown_start(run) and not last:
            save_state(accelerator, run.out, progress.step, BEFORE_COOLDOWN)
        accelerator.wait_for_everyone()
        if stopped and not last:
            if accelerator.is_main_process:  # what has been learnt so far can be looked at and used
                with ema_weights(ema, module):
                    evaluate(stage, run, progress.step, meter)
            break
    meter.close()
    accelerator.end_training()
    return progress.step >= run.steps


def train_preset(presets: Mapping[str, tuple[str, Any]], make: Callable[[Any], Stage]) -> None:
    """Command line of a stage: one of its presets, any setting of it changed. What is wrong is one sentence."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = tyro.extras.overridable_config_cli(dict(presets))
    try:
        train(make(config), config.run, config)
    except ValueError as error:
        sys.exit(str(error))


def refuse_unsupported_launch() -> None:
    """Raise ValueError where Accelerate was told to spread a model in a way that this loop does not know."""
    for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("1", "true"):
            raise ValueError(
                f"Accelerate is set to {name}, which this training does not support: its models fit on one GPU many "
                "times over; choose plain data parallelism in `accelerate config`"
            )
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps not in ("", "1"):
        raise ValueError(f"Accelerate is set to {steps} gradient accumulation steps; set --run.batch-size instead")


def chosen_precision(run: RunConfig, device: torch.device) -> str:
    """Of the run; where it leaves that open, of `accelerate config`, or else what is fast here.

    "no" there means nothing: Accelerate also says it where nothing was chosen.

    Raises:
        ValueError: a precision that this loop or this device does not have.
    """
    told = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower() or "no"
    if run.mixed_precision != "auto":
        if told not in ("no", run.mixed_precision):
            logger.warning("--run.mixed-precision %s counts, not Accelerate's %s", run.mixed_precision, told)
        return run.mixed_precision
    if told == "no":
        return "bf16" if bf16_is_fast(device) else "no"
    if told not in ("bf16", "fp16"):
        raise ValueError(f"Accelerate is set to {told}, which this training does not support; choose bf16, fp16 or no")
    if told == "fp16" and device.type == "cpu":
        raise ValueError("Accelerate is set to fp16, which needs a GPU; choose bf16 or no")
    return told


def _resume(accelerator: Accelerator, run: RunConfig, optimizers: Sequence[Any], progress: _Progress) -> None:
    """Load the newest state, if there is one; rates and decays are those of this call, not those that were saved."""
    state = state_to_resume(run)
    if state is None:
        return
    asked = [[(g["base_lr"], g["weight_decay"]) for g in optimizer.param_groups] for optimizer in optimizers]
    require_same_start(run)
    accelerator.load_state(str(state))
    for optimizer, groups in zip(optimizers, asked, strict=True):
        for group, (base_lr, weight_decay) in zip(optimizer.param_groups, groups, strict=True):
            group |= {"base_lr": base_lr, "weight_decay": weight_decay}
    if accelerator.is_main_process:
        ended = "; it has ended: ask for more --run.steps to go on" if progress.step >= run.steps else ""
        logger.info("resumed %s at step %d%s", state, progress.step, ended)


def _batches(stage: Stage, steps: range, rows: slice, device: torch.device) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Each step with its batch on the device. Beside a GPU the next batches are made while the step runs."""
    if device.type == "cpu":
        for step in steps:
            yield step, stage.batch(step, rows)
        return
    ahead = 4
    with ThreadPoolExecutor(ahead) as pool:
        made: deque[Future[dict[str, Tensor]]] = deque()
        for step in steps:
            while len(made) < min(ahead, steps.stop - step):
                made.append(pool.submit(stage.batch, step + len(made), rows))
            batch = made.popleft().result()
            yield step, {k: v.to(device) for k, v in batch.items()}


def _common_time(accelerator: Accelerator) -> float:
    """The main process's `time.monotonic()`, so that all processes stop and save at the same step."""
    if accelerator.num_processes == 1:
        return time.monotonic()
    clock = [time.monotonic()]
    broadcast_object_list(clock)
    return float(clock[0])


def report_processes(accelerator: Accelerator) -> None:
    """Say how many processes train. `accelerate launch --cpu --num_processes 2` starts one unless it has MPI."""
    if accelerator.is_main_process:
        logger.info("training on %d process(es), %s", accelerator.num_processes, accelerator.device)
    if accelerator.num_processes == 1 and accelerator.device.type == "cpu" and "MASTER_ADDR" in os.environ:
        logger.warning(
            "accelerate was asked for several processes and started one: on CPUs it needs MPI for more. "
            "Without MPI use: ACCELERATE_USE_CPU=1 torchrun --nproc_per_node 2 -m flextok.training..."
        )


def make_optimizers(module: nn.Module, run: RunConfig) -> Iterator[torch.optim.Optimizer]:
    """AdamW for all, or Muon for matrices and AdamW for the rest (vectors have no rows to orthogonalise)."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if run.optimizer == "muon" and p.ndim == 2 and is_hidden_matrix(name)]
    taken = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": run.weight_decay, "base_lr": run.lr},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "base_lr": run.lr},
    ]
    yield torch.optim.AdamW([g for g in groups if g["params"]], lr=run.lr, betas=(0.9, 0.99))
    if matrices:
        group = {"params": matrices, "base_lr": run.muon_lr}
        yield Muon([group], lr=run.muon_lr, weight_decay=run.weight_decay, momentum=0.95)


def is_hidden_matrix(name: str) -> bool:
    """Matrices inside blocks; inputs, outputs, tables and modulations keep AdamW."""
    return "blocks." in name and "modulation" not in name


def cooldown_start(run: RunConfig) -> int:
    """The last step at the full learning rate."""
    return int(run.steps * (1 - run.cooldown))


def save_state(accelerator: Accelerator, out: Path, step: int, prefix: str = "state") -> None:
    """Save all that a resume needs; a crash at any moment leaves the previous state usable."""
    temporary, final = out / "state.tmp", out / f"{prefix}-{step:07d}"
    if accelerator.is_main_process and temporary.exists():
        shutil.rmtree(temporary)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary), safe_serialization=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
        for older in sorted(out.glob(f"{prefix}-*"))[:-1]:
            shutil.rmtree(older)


def newest_state(out: Path, prefix: str = "state") -> Path | None:
    states = sorted(out.glob(f"{prefix}-*"))
    return states[-1] if states else None


def step_of(state: Path) -> int:
    return int(state.name.rpartition("-")[2])


def state_to_resume(run: RunConfig) -> Path | None:
    """The newest state; where more steps are asked for than it was cooling down to, the one before the cool-down."""
    newest, before = newest_state(run.out), newest_state(run.out, BEFORE_COOLDOWN)
    if newest is None or before is None:
        return newest
    return before if cooldown_start(run) > step_of(before) else newest


class ema_weights:
    """Puts the EMA weights in place for the time of a `with` block, and the module in eval mode."""

    def __init__(self, ema: EMAModel, module: nn.Module) -> None:
        self.ema, self.module = ema, module

    def __enter__(self) -> None:
        self.ema.store(self.module.parameters())
        self.ema.copy_to(self.module.parameters())
        self.module.eval()

    def __exit__(self, *exc: object) -> None:
        self.ema.restore(self.module.parameters())
        self.module.train()


def evaluate(stage: Stage, run: RunConfig, step: int, meter: _Meter) -> None:
    with torch.no_grad():
        metrics, sheet = stage.evaluate()
    meter.write({"step": step, **{f"val_{k}": v for k, v in metrics.items()}})
    meter.say(f"step {step}: " + "  ".join(f"{k} {v:.3f}" for k, v in metrics.items()))
    if sheet is not None:
        Image.fromarray(sheet).save(run.out / f"samples-{step:07d}.png")
    temporary, older, final = run.out / "weights.tmp", run.out / "weights.old", run.out / "weights"
    stage.save(temporary)
    if final.exists():
        shutil.rmtree(older, ignore_errors=True)
        os.replace(final, older)
    os.replace(temporary, final)
    shutil.rmtree(older, ignore_errors=True)


class _Meter:
    """Progress bar, metrics.jsonl, and at the start a word on when the run will end."""

    def __init__(self, run: RunConfig, step: int, active: bool) -> None:
        self.run, self.active, self.first = run, active, step
        self.bar = tqdm(total=run.steps, initial=step, disable=not active, mininterval=10, unit="step")
        self.sums: dict[str, float] = {}
        self.count, self.started, self.told = 0, time.perf_counter(), False

    def update(self, step: int, losses: dict[str, float], factor: float) -> None:
        if not math.isfinite(losses["loss"]):
            raise FloatingPointError(f"the loss is {losses['loss']} at step {step}; resume with a lower learning rate")
        self.bar.update(1)
        for key, value in losses.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        if step - self.first == 10 and not self.told:
            self.told = True
            left = (time.perf_counter() - self.started) / 10 * (self.run.steps - step)
            self.say(f"expected to take {left / 60:.0f} more minutes for {self.run.steps - step} steps")
        if step % self.run.log_every == 0:
            mean = {k: v / self.count for k, v in self.sums.items()}
            seconds = (time.perf_counter() - self.started) / max(step - self.first, 1)
            self.bar.set_postfix({"loss": f"{mean['loss']:.4f}", "clips/s": f"{self.run.batch_size / seconds:.1f}"})
            self.write({"step": step, **mean, "lr_factor": factor, "seconds_per_step": seconds})
            self.sums, self.count = {}, 0

    def write(self, row: dict[str, Any]) -> None:
        if self.active:
            with (self.run.out / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}) + "\n")

    def say(self, text: str) -> None:
        if self.active:
            self.bar.write(text)

    def close(self) -> None:
        self.bar.close()
