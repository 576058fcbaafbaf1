"""Does the app keep more and more memory? The same visitor's run again and again, with other seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.bake.bench.page import warm_up
from app.bake.bench.server import running_app
from app.shipped import example_paths

MOST_MB = 2048.0
GROWTH_MB = 200.0


@dataclass(frozen=True)
class Memory:
    """Resident memory over many runs."""

    runs: int = 50
    steps: int = 2
    record: bool = False
    """Write assets/results/app_memory.json."""
    name = "memory"

    def run(self) -> tuple[dict[str, Any], list[str]]:
        from gradio_client import Client, handle_file

        clips = [str(path) for path in example_paths()]
        with running_app() as server:
            warm_up(server.address)
            client = Client(server.address, verbose=False)
            after = [server.memory_mb()]
            for number in range(self.runs):
                clip = handle_file(clips[number % len(clips)])
                client.submit(clip, steps=self.steps, seed=number, api_name="/reconstruct").result(timeout=300)
                client.predict(clip, keep_k=4, steps=self.steps, seed=number, api_name="/render")
                after.append(server.memory_mb())
        settled = after[min(5, len(after) - 1)]  # allocators take their pools in the first runs
        report = {
            "runs": self.runs,
            "memory_first_mb": after[0],
            "memory_settled_mb": settled,
            "memory_last_mb": after[-1],
            "memory_most_mb": max(after),
        }
        rules = (
            (max(after) < MOST_MB, f"{max(after):.0f} MB are more than {MOST_MB:.0f}"),
            (after[-1] - settled < GROWTH_MB, f"memory grew by {after[-1] - settled:.0f} MB over {self.runs} runs"),
        )
        return report, [sentence for held, sentence in rules if not held]
