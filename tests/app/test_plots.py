"""The rate-distortion figure and its table say what the results file says."""

from __future__ import annotations

from app.plots import (
    GENERATION_METRICS,
    METRICS,
    SETS,
    generation_by_budget,
    generation_results,
    num_bytes,
    rate_distortion,
    read_by_budget,
    realism_by_budget,
    results,
    study_by_size,
    tokens_needed,
)
from app.tabs.rate_distortion import csv_rows, needed_line


def test_every_curve_of_the_results_is_drawn() -> None:
    report = results()
    for clip_set in SETS:
        for metric in METRICS:
            figure = rate_distortion(report, clip_set, metric, 10, ({1: 18.0, 64: 22.0}, 16))
            traces = {trace.name: trace for trace in figure.data}
            assert {"registers", "3D grid, coarser cells", "H.264", "AV1", "the clip in Explore, registers"} <= set(
                traces
            )
            expected = [row[metric] for row in report[clip_set]["register"].values()]
            assert list(traces["registers"].y) == expected
            assert list(traces["registers"].x) == [7, 13, 25, 50, 100, 200, 400]
            assert list(traces["the clip in Explore, registers"].x) == [10, 640]
            assert figure.layout.shapes[0].y0 == report[clip_set]["vae"][metric]


def test_what_is_read_is_drawn_for_both_tokenizers() -> None:
    read = results()["realism"]
    traces = {trace.name: trace for trace in read_by_budget(results()).data}
    assert len(traces) == 6
    assert list(traces["object's colour, registers"].x) == [1, 2, 4, 8, 16, 32, 64]
    assert list(traces["action, 3D grid"].y) == [100 * row["read_action"] for row in read["grid_coarser"].values()]


def test_realism_is_drawn_with_its_error_and_its_yardsticks() -> None:
    realism = results()["realism"]
    traces = {trace.name: trace for trace in realism_by_budget(results()).data}
    assert list(traces["registers"].y) == [row["kernel_distance"] for row in realism["register"].values()]
    assert list(traces["3D grid"].error_y.array) == [
        row["kernel_distance_error"] for row in realism["grid_coarser"].values()
    ]
    assert set(traces["source at a quarter"].y) == {realism["blurred_4"]["kernel_distance"]}


def test_bytes_are_whole() -> None:
    assert num_bytes([1, 16, 256], 10) == [7, 100, 1600]
    assert num_bytes([1, 16, 256], 16) == [10, 160, 2560]


def test_tokens_needed_is_the_smallest_budget_that_does() -> None:
    values = {1: 18.0, 4: 20.0, 16: 20.0, 64: 23.0}
    assert tokens_needed(values, 20.0) == 4
    assert tokens_needed(values, 10.0) == 1
    assert tokens_needed(values, 30.0) is None
    assert "k = 4" in needed_line("It", values, 19.0, 5)
    assert "23.0 dB" in needed_line("It", values, 30.0, 5)


def test_the_table_holds_every_point() -> None:
    report = results()
    header, *rows = csv_rows(report, 10)
    assert all(len(row) == len(header) for row in rows)
    assert len({tuple(row[:3]) for row in rows}) == len(rows)
    assert {row[0] for row in rows} == set(SETS)
    assert ["toybox_test", "register", "k=64", 400] in [row[:4] for row in rows]


def test_generation_and_study_are_drawn_as_they_were_measured() -> None:
    generation, _ = generation_results()
    sizes = [("register", k, n) for k in (1, 4, 16) for n in (1e6, 3e6)] + [("grid", 64, n) for n in (1e6, 3e6)]
    rows = [
        {"kind": kind, "k": k, "tokens": 5 * k, "parameters": n}
        | {name: i + j / 10 for j, name in enumerate(GENERATION_METRICS)}
        | {f"{name}_std": i / 7 + j for j, name in enumerate(GENERATION_METRICS)}
        for i, (kind, k, n) in enumerate(sizes)
    ]
    for metric in GENERATION_METRICS:
        line, *others = generation_by_budget(generation, metric).data
        papers = [trace for trace in others if "paper" in trace.name]
        assert [trace.yaxis for trace in papers] == (["y2"] if metric == "Toybox FVD" else [])  # scales differ
        assert dict(zip(line.x, line.y, strict=True)) == {
            int(k): row[metric] for k, row in generation["budgets"].items()
        }
        drawn = {
            (trace.name, x): (y, error)
            for trace in study_by_size({"rows": rows}, metric).data
            for x, y, error in zip(trace.x, trace.y, trace.error_y.array, strict=True)
        }
        assert sorted(drawn.values()) == sorted((row[metric], row[f"{metric}_std"]) for row in rows)
