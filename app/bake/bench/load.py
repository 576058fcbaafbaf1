"""Many visitors at once on loopback: errors, how long they wait, and whether the app comes to rest afterwards."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from app.bake.bench.page import warm_up
from app.bake.bench.server import Server, running_app
from app.shipped import example_paths

FULL = "queue is full"
MEMORY_BACK_MB = 200.0
PATIENCE_S = 120.0


@dataclass
class Tally:
    """What all users saw; locked, since they are threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Load:
    """Users that tokenize, decode and reconstruct without a pause, for a time."""

    users: int = 20
    seconds: float = 120.0
    steps: int = 2
    record: bool = False
    """Write assets/results/app_load.json."""
    name = "load"

    def run(self) -> tuple[dict[str, Any], list[str]]:
        tally = Tally()
        with running_app() as server:
            warm_up(server.address)
            before_mb = server.memory_mb()
            deadline = time.monotonic() + self.seconds
            threads = [
                threading.Thread(target=_user, args=(server.address, number, deadline, self.steps, tally), daemon=True)
                for number in range(self.users)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(deadline - time.monotonic(), 0) + PATIENCE_S)
            stuck = sum(thread.is_alive() for thread in threads)
            idle_share, after_mb = _rest(server)
        report = {
            "users": self.users,
            "seconds": self.seconds,
            "finished": len(tally.seconds),
            "refused_queue_full": tally.refused,
            "errors": sum(tally.errors.values()),
            "error_texts": dict(tally.errors.most_common(5)),
            "users_stuck": stuck,
            "median_s": statistics.median(tally.seconds) if tally.seconds else None,
            "slowest_s": max(tally.seconds, default=None),
            "cpu_share_afterwards": idle_share,
            "memory_before_mb": before_mb,
            "memory_after_mb": after_mb,
        }
        rules = (
            (report["errors"] == 0, f"{report['errors']} errors other than a full queue"),
            (stuck == 0, f"{stuck} users never got an answer"),
            (bool(tally.seconds), "no call finished"),
            (idle_share < 0.2, f"the app still uses {idle_share:.0%} of a core afterwards"),
            (after_mb - before_mb < MEMORY_BACK_MB, f"memory grew by {after_mb - before_mb:.0f} MB"),
        )
        return report, [sentence for held, sentence in rules if not held]


def _user(address: str, number: int, deadline: float, steps: int, tally: Tally) -> None:
    from gradio_client import Client, handle_file

    rng = random.Random(number)
    clips = [str(path) for path in example_paths()]
    client = Client(address, verbose=False)
    while time.monotonic() < deadline:
        clip, seed = handle_file(rng.choice(clips)), rng.randrange(1000)
        name, options = rng.choice(
            [
                ("/tokenize", {"steps": steps, "seed": seed}),
                ("/render", {"steps": steps, "seed": seed, "keep_k": rng.choice([1, 4, 16])}),
                ("/reconstruct", {"steps": steps, "seed": seed}),
            ]
        )
        begun = time.monotonic()
        try:
            client.submit(clip, api_name=name, **options).result(timeout=_patience(deadline))
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what a user sees
            text = str(error) or type(error).__name__
            with tally.lock:
                if FULL in text.lower():
                    tally.refused += 1
                else:
                    tally.errors[text[:200]] += 1
            time.sleep(0.5)
        else:
            with tally.lock:
                tally.seconds.append(time.monotonic() - begun)


def _patience(deadline: float) -> float:
    """No call outlives the bench by more than its patience."""
    return max(deadline - time.monotonic(), 0) + PATIENCE_S / 2


def _rest(server: Server) -> tuple[float, float]:
    """Share of a core in use, and memory, once the app has come to rest; waits for that up to half a minute."""
    share = 1.0
    for _ in range(15):
        used = server.cpu_s()
        time.sleep(2)
        share = (server.cpu_s() - used) / 2
        if share < 0.1:
            break
    return share, server.memory_mb()
