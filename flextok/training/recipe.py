"""All embedded weights from nothing, in one command: `python -m flextok.training.recipe embedded --out runs/embedded`.

Clips, scorer, VAE, latents, registers, grid, tokens, decoders, generators, then everything into `assets/`, and results.
The amounts are those of `recipe_settings`. A stage that is done is skipped, one that was stopped goes on from its last
step; `--plan` says what is done and how long the rest will take on this machine, `--minutes` stops in time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from flextok.data.datasets import ToyboxDataset, fill_bank
from flextok.data.folder import FolderDataset
from flextok.data.latent_cache import CacheConfig, fill_cache
from flextok.data.token_cache import TokenCacheConfig, fill_token_cache
from flextok.loading.checkpoint import WEIGHTS_NAME
from flextok.toybox.sampling import TRAIN_SEEDS
from flextok.training import train_ar, train_scorer, train_tokenizer, train_vae
from flextok.training.configs import RunConfig
from flextok.training.export import export_all
from flextok.training.recipe_settings import SETTINGS, Bank, Settings, Work
from flextok.training.trainer import Stage as TrainerStage
from flextok.training.trainer import newest_state, step_of, train

logger = logging.getLogger(__name__)
BEGUN = {
    "scorer": "scorer",
    "embedded/vae": "vae",
    "embedded/tokenizer": "register",
    "embedded-grid/tokenizer": "grid",
    "embedded-generator/transformer": "generator-begun",
    "embedded-grid-generator/transformer": "grid-generator-begun",
}
"""What is taken of a finished set, by its folder there, and the stage whose weights it stands for."""
RESULTS = ("scorer", "reconstruction", "speed", "generation")
"""Benches that are run on the exported weights, in this order."""


@dataclass(frozen=True)
class Options:
    name: tyro.conf.Positional[Literal["embedded", "embedded-more", "embedded-cuda", "tiny"]]
    out: Path
    """Folder of everything on the way; several GB."""
    assets: Path | None = None
    """Where the finished weights go; None leaves them in `out`/assets."""
    begin: Path | None = None
    """A finished set to go on from, such as `assets`, where no states of it are left: its VAE, scorer and tokens stay,
    its decoders and generators go on for as long as the settings say."""
    plan: bool = False
    """Print stages, amounts, expected hours here and what is done, and stop."""
    minutes: float | None = None
    """Stop after so long, to be gone on with by the same command. Short stages (latents, tokens) run to their end."""
    only: tuple[str, ...] = ()
    """Names of stages (see --plan); others are left out. Several processes can work on independent ones."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    workers: int = 0
    """Processes that render; 0 is one a core."""
    compile: bool = True
    """torch.compile the networks: minutes of compiling, then up to twice the speed."""


@dataclass(frozen=True)
class Stage:
    """One stage: what it makes, how much, how far it is, and how to go on."""

    name: str
    total: int
    unit: str
    done: Callable[[], int]
    run: Callable[[float | None], bool]
    """With a deadline of `time.monotonic()`; whether the stage is finished then."""


def stages(settings: Settings, out: Path, assets: Path, options: Options) -> list[Stage]:
    """Every stage in order."""
    banks = [bank for bank in settings.banks if bank.folder is None or bank.folder.exists()]
    toybox = [bank.name for bank in banks if bank.folder is None and bank.num_actions == 1]
    long = [bank.name for bank in banks if bank.num_actions > 1]
    names = [bank.name for bank in banks]
    shares = _shares(settings, banks)
    vae = out / "vae/weights"

    def latents(names: Sequence[str]) -> tuple[Path, ...]:
        return tuple(out / "latents" / name for name in names)

    def tokens(kind: str, names: Sequence[str]) -> tuple[Path, ...]:
        return tuple(out / f"{kind}-tokens" / name for name in names)

    def training(name: str, work: Work, make: Callable[[Any], TrainerStage], config: Any) -> Stage:
        run = _run(config.run, out / name, work, settings, options)
        caches = [folder / note for folder in getattr(config, "caches", ()) for note in ("cache.json", "captions.json")]
        begin = [] if run.init_from is None else [run.init_from / WEIGHTS_NAME]
        return _training(name, make, dataclasses.replace(config, run=run), [*caches, *begin])

    def tokenizer(preset: str, work: Work, name: str, begin: Path | None, **changes: Any) -> Stage:
        config = train_tokenizer.PRESETS[f"{preset}-tiny" if settings.tiny else preset][1]
        run = dataclasses.replace(config.run, init_from=begin)
        weights = tuple(shares[bank.name] for bank in banks)
        changes = {"vae": vae, "caches": latents(names), "cache_weights": weights, **changes}
        return training(name, work, train_tokenizer.TokenizerStage, dataclasses.replace(config, run=run, **changes))

    def decoder(kind: str) -> Stage:
        name = f"{kind}-decoder"
        return tokenizer(name, settings.decoder, name, out / kind / "weights", tokens=tokens(kind, names))

    def generator(kind: str, work: Work, name: str) -> Stage:
        config = train_ar.PRESETS[f"{kind}-tiny" if settings.tiny else kind][1]
        weights = [0.88 / len(toybox)] * len(toybox) + [0.12 / max(len(long), 1)] * len(long)
        begin = out / f"{name}-begun/weights" if options.begin is not None else None
        config = dataclasses.replace(
            config,
            run=dataclasses.replace(config.run, init_from=begin),
            caches=tokens(kind, [*toybox, *long]),
            cache_weights=tuple(weights),
        )
        return training(name, work, train_ar.ARStage, config)

    shipped = ("scorer", "vae", "register-decoder", "grid-decoder", "generator", "grid-generator")
    finished = [out / name / "weights" / WEIGHTS_NAME for name in shipped]
    size = "tiny" if settings.tiny else "embedded"
    scorer_config = dataclasses.replace(
        train_scorer.PRESETS[size][1], banks=tuple(out / "banks" / name for name in toybox)
    )
    vae_config = dataclasses.replace(
        train_vae.PRESETS[size][1],
        banks=tuple(out / "banks" / name for name in names),
        bank_weights=tuple(shares[bank.name] for bank in banks),
    )

    def export() -> None:
        export_all(out, assets, {s.name for s in found if s.name in shipped and s.done() < s.total})

    found = [
        *(_bank(bank, out / "banks" / bank.name, options.workers) for bank in banks),
        training("scorer", settings.scorer, train_scorer.ScorerStage, scorer_config),
        training("vae", settings.vae, train_vae.VAEStage, vae_config),
        *(_latents(bank, out, vae) for bank in banks),
        tokenizer("register-read", settings.read, "register-read", None, caches=latents(toybox), cache_weights=()),
        tokenizer("register", settings.joint, "register", out / "register-read/weights"),
        *(_tokens(bank, out, "register") for bank in banks),
        decoder("register"),
        tokenizer("grid", settings.joint, "grid", None),
        *(_tokens(bank, out, "grid") for bank in banks),
        decoder("grid"),
        generator("register", settings.generator, "generator"),
        generator("grid", settings.grid_generator, "grid-generator"),
        _once("export", out, finished, export),
    ]
    if options.begin is not None:
        found = _from_finished(options.begin, out, found)
    if not settings.tiny and options.assets is not None:
        found.append(_once("results", out, [out / "export.done"], _results))
    return found


def _shares(settings: Settings, banks: Sequence[Bank]) -> dict[str, float]:
    """How often a clip of each bank is drawn, for VAE and tokenizers."""
    kinds: dict[str, list[Bank]] = {"photos": [], "long": [], "toybox": []}
    for bank in banks:
        kinds["photos" if bank.folder is not None else "long" if bank.num_actions > 1 else "toybox"].append(bank)
    photos = settings.share_of_photos if kinds["photos"] else 0.0
    long = settings.share_of_long if kinds["long"] else 0.0
    of_kind = {"photos": photos, "long": long, "toybox": 1 - photos - long}
    return {
        bank.name: of_kind[kind] * bank.clips / sum(b.clips for b in group)
        for kind, group in kinds.items()
        for bank in group
    }


def _run(run: RunConfig, out: Path, work: Work, settings: Settings, options: Options) -> RunConfig:
    """A preset's run in its folder, for as long as the settings say."""
    every = run.evaluate_every if settings.tiny else max(work.steps // 6, 1)
    return dataclasses.replace(
        run,
        out=out,
        steps=work.steps,
        batch_size=work.batch_size,
        threads=options.threads,
        compile=run.compile and options.compile,
        evaluate_every=every,
        log_every=min(run.log_every, work.steps),
    )


def _training(name: str, make: Callable[[Any], TrainerStage], config: Any, sources: Sequence[Path]) -> Stage:
    """sources: files it learns from, each made anew when what is before it is."""
    run: RunConfig = config.run

    def done() -> int:
        state = newest_state(run.out)
        return min(step_of(state), run.steps) if state is not None else 0

    def go_on(deadline: float | None) -> bool:
        state = newest_state(run.out)
        if state is not None and not is_newer(state, *sources):
            raise ValueError(f"{name} began on what is not there any more: remove {run.out} to train it anew")
        return train(make(config), run, config, deadline)

    return Stage(name, run.steps, "steps", done, go_on)


def is_newer(product: Path, *sources: Path) -> bool:
    """Is it there, and made after all of these?"""
    if not product.exists():
        return False
    return all(product.stat().st_mtime >= path.stat().st_mtime for path in sources if path.exists())


def _bank(bank: Bank, folder: Path, workers: int) -> Stage:
    def done() -> int:
        note = folder / "bank.json"
        return int(json.loads(note.read_text())["clips_done"]) if note.exists() else 0

    def run(deadline: float | None) -> bool:
        # In the order and the words of `make_bank`, so that both go on with each other's banks.
        about: dict[str, object] = {
            "folder": str(bank.folder),
            "first_seed": str(bank.first_seed),
            "size": "64",
            "num_actions": str(bank.num_actions),
        }
        if bank.folder is None:
            seeds = TRAIN_SEEDS[bank.first_seed : bank.first_seed + bank.clips]
            dataset: Any = ToyboxDataset(seeds, 64, bank.num_actions)
        else:
            dataset = FolderDataset(bank.folder, length=bank.clips)
        count = workers or os.cpu_count() or 1
        return fill_bank(dataset, folder, bank.clips, about, workers=count if count > 1 else 0, deadline=deadline)

    return Stage(f"banks/{bank.name}", bank.clips, "clips", done, run)


def _latents(bank: Bank, out: Path, vae: Path) -> Stage:
    folder = out / "latents" / bank.name

    def run(deadline: float | None) -> bool:  # noqa: ARG001
        fill_cache(CacheConfig(vae, out / "banks" / bank.name, folder))
        return True

    def done() -> int:
        return bank.clips * is_newer(folder / "cache.json", vae / WEIGHTS_NAME, out / "banks" / bank.name / "bank.json")

    return Stage(f"latents/{bank.name}", bank.clips, "clips", done, run)


def _tokens(bank: Bank, out: Path, kind: str) -> Stage:
    name = f"{kind}-tokens/{bank.name}"
    folder = out / name

    def run(deadline: float | None) -> bool:  # noqa: ARG001
        source = out / "latents" / bank.name
        fill_token_cache(TokenCacheConfig(source, folder, out / kind / "weights", grid=kind == "grid"))
        return True

    def done() -> int:
        sources = out / "latents" / bank.name / "cache.json", out / kind / "weights" / WEIGHTS_NAME
        return bank.clips * is_newer(folder / "captions.json", *sources)

    return Stage(name, bank.clips, "clips", done, run)


def _once(name: str, out: Path, sources: Sequence[Path], work: Callable[[], None]) -> Stage:
    mark = out / f"{name}.done"

    def run(deadline: float | None) -> bool:  # noqa: ARG001
        work()
        mark.touch()
        return True

    return Stage(name, 1, "time", lambda: int(is_newer(mark, *sources)), run)


def _from_finished(begin: Path, out: Path, found: Sequence[Stage]) -> list[Stage]:
    """The stages without those that a finished set stands for."""
    left_out = {*BEGUN.values(), "register-read"}
    begun = _once("begin", out, [], lambda: copy_begun(begin, out))
    return [begun, *(stage for stage in found if stage.name not in left_out)]


def copy_begun(begin: Path, out: Path) -> None:
    """Put the weights of a finished set where the stages look for what they go on from.

    A copy, because the set is often what the new weights replace. A decoder's stage goes on from a whole tokenizer.
    """
    if missing := [source for source in BEGUN if not (begin / source).is_dir()]:
        raise ValueError(f"--begin {begin} is no finished set: it has no {missing[0]}")
    for source, stage in BEGUN.items():
        shutil.copytree(begin / source, out / stage / "weights", dirs_exist_ok=True)


def _results() -> None:
    """Measure what was exported into `assets/`; `python -m app.bake` makes the app's own parts after it."""
    for name in RESULTS:
        subprocess.run([sys.executable, "-m", "flextok.bench", name], check=True)


def measured_seconds(settings: Settings, options: Options) -> dict[str, float]:
    """Seconds of one unit of every stage on this machine: a run of the recipe with almost nothing to do, timed.

    Networks and batches are as large as they will be; clips are few, and a stage takes three steps, which are not
    compiled: that alone would take longer than the rest. Stages that gain by it are said to take longer than they do.
    """
    clips = {bank.name: 3 if bank.num_actions > 1 else 16 for bank in settings.banks}
    few = dataclasses.replace(
        settings,
        banks=tuple(dataclasses.replace(bank, clips=clips[bank.name]) for bank in settings.banks),
        **{
            field.name: dataclasses.replace(getattr(settings, field.name), steps=3)
            for field in dataclasses.fields(Settings)
            if isinstance(getattr(settings, field.name), Work)
        },
    )
    seconds = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        out = Path(folder)
        quick = dataclasses.replace(options, assets=None, compile=False)
        for stage in stages(few, out, out / "assets", quick):
            start = time.monotonic()
            stage.run(None)
            seconds[stage.name] = seconds_per_step(out / stage.name) or (time.monotonic() - start) / stage.total
    return seconds


def seconds_per_step(folder: Path) -> float | None:
    """As the newest line of a training's metrics.jsonl says; None if it says nothing."""
    rows = folder / "metrics.jsonl"
    logged = [json.loads(row) for row in rows.read_text().splitlines()] if rows.exists() else []
    timed = [row["seconds_per_step"] for row in logged if "seconds_per_step" in row]
    return float(timed[-1]) if timed else None


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("accelerate").setLevel(logging.WARNING)  # it tells of every file of a state
    options = tyro.cli(Options)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: there is no GPU that PyTorch can use here")
    if options.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # read by Accelerate in every stage
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = SETTINGS[options.name]
    found = stages(settings, options.out, options.assets or options.out / "assets", options)
    if unknown := set(options.only) - {stage.name for stage in found}:
        sys.exit(f"--only {sorted(unknown)[0]}: no such stage; there are {', '.join(stage.name for stage in found)}")
    chosen = [stage for stage in found if not options.only or stage.name in options.only]
    if options.plan:
        seconds = measured_seconds(settings, options)
        for stage in chosen:  # of what has run here, the real figure
            seconds[stage.name] = seconds_per_step(options.out / stage.name) or seconds.get(stage.name, 0.0)
        sys.stdout.write("\n".join(plan(chosen, seconds)) + "\n")
        return
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    try:
        ended = run_stages(chosen, deadline)
    except ValueError as error:
        sys.exit(str(error))
    if not ended:
        logger.info("stopped after %g minutes; the same command goes on from here", options.minutes)


def run_stages(chosen: Sequence[Stage], deadline: float | None = None) -> bool:
    """Run what is not done, in order; whether all is done then."""
    for number, stage in enumerate(chosen, 1):
        if stage.done() >= stage.total:
            continue
        if deadline is not None and time.monotonic() > deadline:
            return False
        logger.info("[%d/%d] %s: %d of %d %s", number, len(chosen), stage.name, stage.done(), stage.total, stage.unit)
        if not stage.run(deadline):
            return False
    return True


def plan(chosen: Sequence[Stage], seconds: dict[str, float]) -> Iterator[str]:
    """Lines: what each stage makes, what is done, and the expected hours of the rest."""
    yield f"{'stage':26} {'done':>8} of {'all':<8} {'':6} {'s each':>8} {'hours left':>10}"
    left = 0.0
    for stage in chosen:
        done, each = stage.done(), seconds.get(stage.name, 0.0)
        hours = (stage.total - done) * each / 3600
        left += hours
        yield f"{stage.name:26} {done:>8} of {stage.total:<8} {stage.unit:6} {each:>8.3f} {hours:>10.2f}"
    yield f"{'together':26} {'':28} {'':>8} {left:>6.2f}"


if __name__ == "__main__":
    main()
