"""Measurements and checks: `python -m flextok.bench NAME ...`.

Each is a module with `main(arguments)`, which returns an exit code or nothing. Measurements write the JSON that the
README and the app show.
"""

from __future__ import annotations

import importlib
import sys

BENCHES = {
    "generation": "flextok.bench.generation",
    "parity": "flextok.bench.parity",
    "reconstruction": "flextok.bench.reconstruction",
    "released": "flextok.bench.released",
    "scorer": "flextok.bench.scorer",
    "speed": "flextok.bench.speed",
    "study": "flextok.bench.study",
    "tables": "flextok.bench.tables",
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in BENCHES:
        sys.exit(f"usage: python -m flextok.bench {{{','.join(BENCHES)}}} ...")
    sys.exit(importlib.import_module(BENCHES[sys.argv[1]]).main(sys.argv[2:]))


if __name__ == "__main__":
    main()
