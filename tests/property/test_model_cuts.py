"""Hypothesis looks for records and cuts under which the same records would not give the same results."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model import Model, decode_state, encode_state
from tests.checks.jobs import cut, detector, job, make_batch, run

times = st.integers(min_value=-10_000, max_value=40_000)
rows = st.lists(
    st.tuples(
        times,
        st.floats(width=64),
        st.sampled_from(["", "a", "b", "ü", "a b"]),
        st.sampled_from(["", "x", "y"]),
        st.integers(min_value=-1, max_value=3),
    ),
    max_size=60,
)
configs = st.sampled_from(
    [
        job(detector("metric", by_field_name="host"), detector("count"), span="600s", influencers=["user"]),
        job(detector("varp", by_field_name="host", use_null=True), span="600s", latency="1000s"),
        job(detector("median"), detector("distinct_count", partition_field_name="host"), span="60s", latency="90s"),
        job(detector("info_content", by_field_name="host"), detector("time_of_day"), span="600s", latency="700s"),
        job(detector("lat_long", over_field_name="host"), detector("rare", by_field_name="user"), span="600s"),
        job(
            detector("metric", over_field_name="host", by_field_name="user", exclude_frequent="all"),
            detector("freq_rare", over_field_name="host", by_field_name="user"),
            span="600s",
            influencers=["host"],
        ),
        job(detector("sum", by_field_name="host"), span="1h", summary_count_field_name="events", influencers=["user"]),
    ]
)


@settings(max_examples=60, deadline=None)
@given(rows=rows, config=configs, edges=st.lists(st.integers(0, 60), max_size=8))
def test_no_cut_and_no_snapshot_changes_a_bit(rows, config, edges) -> None:  # type: ignore[no-untyped-def]
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], [], []]
    with np.errstate(over="ignore"):
        value = np.array(columns[1], np.float64)
    value[~np.isfinite(value)] = np.nan
    batch = make_batch(
        columns[0],
        {"value": value, "events": columns[4]},
        {"host": list(columns[2]), "user": list(columns[3]), "place": [f"{k % 9},{k}" for k in columns[4]]},
    )
    model, results = run(config, batch)
    other, others = Model(config), []
    for part in cut(batch, [min(edge, len(rows)) for edge in edges]) if rows else []:
        other = Model.restore(config, *decode_state(encode_state(*other.state())))
        others += other.add(part)
    assert results == others
    assert model.digest() == other.digest()
    assert model.interim(None, None) == other.interim(None, None)
    assert model.advance_time(10**8) == other.advance_time(10**8)
