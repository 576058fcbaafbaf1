"""`python -m flextok.bench NAME ...`: measurements and checks, one module each with a `main(argv) -> exit code`."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "parity": "flextok.bench.parity",
    "released": "flextok.bench.released",
}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: python -m flextok.bench {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
        return 2
    return int(import_module(COMMANDS[argv[0]]).main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
