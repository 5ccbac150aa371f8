"""The model plot: which series, which bounds, and that looking leaves no trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from domain.config import JobConfig, update_job_config
from domain.config.settings import ModelPlotConfig
from domain.model import BucketResult, Model, decode_state, encode_state, plot
from domain.model.plot import ModelPlot, Plotting
from domain.model.series import SeriesTable
from tests.checks.jobs import SPAN, START, cut, detector, job, make_batch, records, run


def plotted(config: JobConfig, terms: str | None = None) -> JobConfig:
    setting = {"enabled": True, **({"terms": terms} if terms is not None else {})}
    return update_job_config(config, {"model_plot_config": setting}, is_open=True, model_bytes=0)


def make_table(*names: str) -> SeriesTable:
    table = SeriesTable(("host",))
    for name in names:
        table.create((name,), 0)
    return table


def named(table: SeriesTable, plotting: Plotting | None) -> list[str]:
    assert plotting is not None
    return [(table.names[slot] or ("",))[0] for slot in plotting.slots(table).tolist()]


def setting(**fields: Any) -> ModelPlotConfig:
    return ModelPlotConfig(**{"enabled": True, "annotations_enabled": True, **fields})


def test_nothing_is_plotted_unless_it_is_enabled() -> None:
    assert Plotting.of(None) is None
    assert Plotting.of(setting(enabled=False)) is None


def test_without_terms_every_series_is_plotted_in_the_order_of_names() -> None:
    for terms in (None, "", " , "):
        assert named(make_table("c", "a", "b"), Plotting.of(setting(terms=terms))) == ["a", "b", "c"]


def test_terms_name_the_values_to_plot() -> None:
    assert named(make_table("c", "a", "b"), Plotting.of(setting(terms="b, c,d"))) == ["b", "c"]


def test_series_that_come_and_go_are_noticed() -> None:
    table, plotting = make_table("b", "c"), Plotting.of(setting())
    assert named(table, plotting) == ["b", "c"]
    table.create(("a",), 100)
    assert named(table, plotting) == ["a", "b", "c"]
    table.prune(50, lambda _slots: None)
    table.create(("d",), 100)
    assert named(table, plotting) == ["a", "d"]


def test_the_first_to_come_are_plotted_up_to_a_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "PLOTTED_SERIES_MAX", 2)
    assert named(make_table("c", "b", "a"), Plotting.of(setting())) == ["b", "c"]
    assert named(make_table("c", "b", "a"), Plotting.of(setting(terms="a,b"))) == ["a", "b"]


def plots_of(results: list[BucketResult]) -> list[ModelPlot]:
    return [each for result in results for each in result.plots]


def test_the_bounds_hold_what_is_usual() -> None:
    rng = np.random.default_rng(1)
    n_buckets = 2000
    seconds = START + np.arange(n_buckets) * SPAN
    hours = np.arange(n_buckets) * SPAN / 3600
    value = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 3, n_buckets)
    _, results = run(plotted(job(detector("mean"))), make_batch(seconds, {"value": value}))
    rows = np.array([(p.lower[0], p.median[0], p.upper[0], p.actual[0]) for p in plots_of(results)[1000:]])
    lower, median, upper, actual = rows.T
    assert (lower < median).all()
    assert (median < upper).all()
    assert 0.92 < np.mean((lower <= actual) & (actual <= upper)) < 0.99
    assert np.median(upper - lower) == pytest.approx(2 * 1.96 * 3, rel=0.15)


def test_counts_are_not_expected_below_nothing() -> None:
    rng = np.random.default_rng(2)
    seconds = np.sort(rng.integers(START, START + 300 * SPAN, 300))
    _, results = run(plotted(job(detector("count"))), make_batch(seconds))
    lower = [each.lower[0] for each in plots_of(results)]
    assert min(lower) == 0.0


def test_a_series_without_a_value_has_bounds_and_no_actual() -> None:
    seconds = [START + k * SPAN for k in range(40)]
    hosts = ["a", *["b" if k % 2 else "a" for k in range(1, 40)]]
    batch = make_batch(seconds, {"value": [float(k) for k in range(40)]}, {"host": hosts})
    _, results = run(plotted(job(detector("mean", by_field_name="host"))), batch)
    last = results[-1].plots[0]
    assert last.names == [("a",), ("b",)]
    assert last.actual == [38.0, None]
    assert [last.terms_of(name) for name in last.names] == [(None, "a"), (None, "b")]


def test_each_feature_has_bounds_of_its_own() -> None:
    _, results = run(plotted(job(detector("metric", by_field_name="host")), "host-1"), records())
    last = results[-1].plots
    assert [each.feature for each in last] == ["mean", "min", "max"]
    assert last[1].median[0] < last[0].median[0] < last[2].median[0]


def test_a_population_has_the_bounds_of_its_members() -> None:
    rng = np.random.default_rng(3)
    n_buckets, n_members = 60, 30
    seconds = START + np.repeat(np.arange(n_buckets), n_members) * SPAN
    value = np.exp(rng.normal(3.0, 0.5, seconds.size))
    members = [f"m{k % n_members}" for k in range(seconds.size)]
    batch = make_batch(seconds, {"value": value}, {"host": members})
    _, results = run(plotted(job(detector("mean", over_field_name="host"))), batch)
    last = results[-1].plots[0]
    assert (last.names, last.actual) == ([()], [None])
    inside = np.mean((last.lower[0] <= value) & (value <= last.upper[0]))
    assert 0.9 < inside < 0.99


@pytest.mark.parametrize("function", ["time_of_day", "lat_long", "rare"])
def test_what_has_no_middle_has_no_bounds(function: str) -> None:
    _, results = run(plotted(job(detector(function, by_field_name="host"))), records())
    assert plots_of(results) == []


@pytest.mark.parametrize("fields", [{"by_field_name": "host"}, {"over_field_name": "host"}])
def test_looking_changes_neither_the_model_nor_other_results(fields: dict[str, str]) -> None:
    config = job(detector("mean", **fields), detector("count", by_field_name="user"), influencers=["host"])
    plain, looked = run(config, records()), run(plotted(config), records())
    assert plain[0].digest() == looked[0].digest()
    assert any(result.plots for result in looked[1])
    assert [(r.records, r.influencers, r.anomaly_score) for r in plain[1]] == [
        (r.records, r.influencers, r.anomaly_score) for r in looked[1]
    ]
    assert not any(result.plots for result in plain[1])


@pytest.mark.parametrize("fields", [{"by_field_name": "host"}, {"over_field_name": "user", "by_field_name": "host"}])
def test_plots_are_the_same_however_the_records_are_cut_and_the_state_stored(fields: dict[str, str]) -> None:
    config = plotted(job(detector("metric", **fields), detector("high_count", **fields)))
    batch = records()
    _, results = run(config, batch)
    assert plots_of(results)
    stored, others = Model(config), []
    for part in cut(batch, list(range(0, batch.time_ms.size, 53))):
        stored = Model.restore(config, *decode_state(encode_state(*stored.state())))
        others += stored.add(part)
    assert others == results
