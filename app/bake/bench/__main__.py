"""Command line of the benches: `python -m app.bake.bench page`, `load --users 20 --seconds 120`, `memory --runs 50`.

With `--record` a result goes to assets/results/; do that on an idle machine.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import tyro

from app.bake.bench.load import Load
from app.bake.bench.memory import Memory
from app.bake.bench.page import Page

Command = (
    Annotated[Page, tyro.conf.subcommand("page")]
    | Annotated[Load, tyro.conf.subcommand("load")]
    | Annotated[Memory, tyro.conf.subcommand("memory")]
)


def main(arguments: list[str] | None = None) -> int:
    """Run a bench, print what it found; exit status 1 where a limit was missed."""
    bench = tyro.cli(Command, args=arguments, prog="python -m app.bake.bench")  # type: ignore[arg-type]
    report, missed = bench.run()
    print(json.dumps(report, indent=1))
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    if bench.record:
        from flextok.bench.results import write

        print(f"written to {write(f'app_{bench.name}', report)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
