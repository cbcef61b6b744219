"""What the state bench computes from raw figures, and what it leaves out."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

import state_flink
import state_micro
import state_nexmark
import state_plot
import state_report
import state_run
import state_setup


def _figures(get_ns: float, *, zipf_ns: float | None = None) -> dict[str, Any]:
    of = {"uniform": {"get": {"cpu_ns": get_ns, "wall_ns": get_ns * 2}}}
    if zipf_ns is not None:
        of["zipf"] = {"get": {"cpu_ns": zipf_ns, "wall_ns": zipf_ns}}
    return {"operations": of, "memory_per_record_bytes": 40.0}


def test_ratios_are_peer_over_slimbase() -> None:
    """`ratio_vs_rocksdb` has one entry per case and operation, Zipf keys under their own name."""
    raw = {"long_0.5m": {"slimbase": _figures(200, zipf_ns=100), "rocksdb": _figures(2_500, zipf_ns=2_000)}}
    found = state_micro.summarize(raw)
    assert found["ratio_vs_rocksdb"] == {"long_0.5m_get": 12.5, "long_0.5m_get_zipf": 20.0}
    assert found["ratio_vs_hashmap"] == {}
    assert found["memory_per_long_record_bytes"] == {"long_0.5m": {"slimbase": 40.0, "rocksdb": 40.0}}


def test_batched_reads_are_compared_with_single_ones() -> None:
    """One ratio for a read alone, one for each backend's synchronous read, one for ForSt's batches by the process's CPU time."""
    reads = {name: {"cpu_ns": ns, "process_cpu_ns": ns} for name, ns in (("get", 400.0), ("get_batch", 100.0))}
    raw = {
        "long_0.5m": {"slimbase": _figures(200), "rocksdb": _figures(2_500)},
        "async_long_0.5m": {
            "slimbase": {"operations": {"uniform": reads}},
            "forst": {"operations": {"uniform": {"get_batch": {"cpu_ns": 50.0, "process_cpu_ns": 3_000.0}}}},
        },
    }
    assert state_micro.summarize(raw)["ratio_of_batched_get"] == {
        "async_long_0.5m_alone": 4.0,
        "async_long_0.5m_slimbase_get": 2.0,
        "async_long_0.5m_rocksdb_get": 25.0,
        "async_long_0.5m_forst_batch": 30.0,
    }


def test_the_keys_of_the_design_are_there() -> None:
    """DESIGN.md promises these four whatever was measured."""
    assert {f"ratio_vs_{one}" for one in ("rocksdb", "rocksdb_bloom", "forst", "hashmap")} <= set(
        state_micro.summarize({})
    )


def test_a_failed_peer_is_no_ratio() -> None:
    """A backend without figures does not break the others' ratios."""
    raw = {"long_0.5m": {"rocksdb": _figures(1)}, "row_0.5m": {"slimbase": _figures(1), "rocksdb": _figures(4)}}
    assert state_micro.summarize(raw)["ratio_vs_rocksdb"] == {"row_0.5m_get": 4.0}


def test_steady_rate_leaves_start_and_end_out() -> None:
    """The slope begins at a quarter of the rows and ends where the counter first stood at its last value."""
    samples = [(1.0, 0), (2.0, 100), (3.0, 300), (4.0, 500), (5.0, 900), (6.0, 900), (9.0, 900)]
    assert state_flink.steady_rate(samples, 1_000) == (900 - 300) / 2


@pytest.mark.parametrize("samples", [[], [(1.0, 900)], [(1.0, 500), (2.0, 500)], [(1.0, 10), (2.0, 100)]])
def test_too_short_a_job_has_no_steady_rate(samples: list[tuple[float, int]]) -> None:
    """Less than two different counts past a quarter of the rows tell nothing."""
    assert state_flink.steady_rate(samples, 1_000) is None


def test_a_backend_without_its_jar_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bench measures what is there and says what is not."""
    slimbase = dataclasses.replace(state_setup.BACKENDS["slimbase"], jar=tmp_path / "absent.jar")
    monkeypatch.setitem(state_setup.BACKENDS, "slimbase", slimbase)
    notes: list[str] = []
    chosen = state_run.choose_backends("slimbase,hashmap", Console(file=io.StringIO()), notes)
    assert [one.name for one in chosen] == ["hashmap"]
    assert notes == ["slimbase: its jar is not built"]


def test_two_calls_come_together() -> None:
    """`--into` keeps figures of other parts and recomputes means over all queries."""

    def call(query: str, ratio: float) -> dict[str, Any]:
        queries = {query: {"ratio_vs_rocksdb": ratio, "same_results": True}}
        return {"nexmark": {"queries": queries}, "left_out": [query], "elapsed_s": 1.0}

    merged = state_run.merge_runs(call("q3", 2.0), call("q4", 8.0))
    assert merged["nexmark"]["geometric_mean_vs_rocksdb"] == pytest.approx(4.0)
    assert merged["nexmark"]["all_results_same"]
    assert merged["left_out"] == ["q3", "q4"]
    assert merged["elapsed_s"] == 2.0


def test_different_rows_are_told() -> None:
    """One backend with another hash makes the query and the whole wrong."""
    runs = {name: [{"events_per_s": 1, "rows": 5, "hash": name}] for name in ("rocksdb", "hashmap")}
    assert state_nexmark._compared("q3", runs)["same_results"] is False
    assert state_nexmark._compared("q12", runs)["same_results"] is None


@pytest.mark.parametrize("name", state_nexmark.NAMES)
def test_queries_have_columns_for_their_sink(name: str) -> None:
    """Each query's file begins with the columns of its result, as many as it selects."""
    columns, query = state_nexmark.read_query(name)
    assert re.fullmatch(r"\w+ (BIGINT|STRING|TIMESTAMP\(3\))(, \w+ (BIGINT|STRING|TIMESTAMP\(3\)))*", columns)
    assert ";" not in query


def test_plots_are_well_formed_and_repeatable() -> None:
    """Any figures give an SVG that parses, the same each time."""
    chart = state_plot.Chart("a < b", {"get & put": {"slimbase": 164.0, "rocksdb": 2_529.0}}, "ns", logarithmic=True)
    text = state_plot.render_chart(chart)
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert text == state_plot.render_chart(chart)


def test_report_needs_no_part() -> None:
    """A run of one part gives a page of that part."""
    result = {"machine": state_setup.machine(), "quick": True, "elapsed_s": 1.0, "left_out": ["forst: no time left"]}
    raw = {"long_0.5m": {"slimbase": _figures(200), "rocksdb": _figures(2_500)}}
    files = state_report.render_report({**result, "micro": raw, **state_micro.summarize(raw)})
    assert set(files) == {"state.md", "state-operations.svg"}
    assert "| long_0.5m_get | 12.5 | – | – | – |" in files["state.md"]
    assert "forst: no time left" in files["state.md"]
