"""Looking into a model: every array has names, series are found by their values, and nothing changes by being read."""

import numpy as np
import pytest

from domain.inspection import Readings, all_readings, find_series, tables
from domain.model import Model
from tests.checks.jobs import detector, job, records

KINDS = {
    "values": [detector("mean", by_field_name="host"), detector("count", partition_field_name="host")],
    "population": [detector("mean", over_field_name="host"), detector("rare", by_field_name="user")],
    "scattered": [detector("time_of_day", by_field_name="host"), detector("lat_long", over_field_name="host")],
    "frequent": [detector("freq_rare", over_field_name="host", by_field_name="user", exclude_frequent="all")],
}
BATCH = records(n_buckets=30)


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    model = Model(job(*KINDS[request.param]))
    model.add(BATCH)
    return model


def test_every_array_of_a_detector_is_in_a_table_with_a_name_for_each_row(model):
    arrays, _ = model.state()
    found = {f"d{table.detector_index}" for table in tables(model, arrays)}
    assert found == {f"d{index}" for index in range(len(model.detectors))}
    keys = {table.key for table in tables(model, arrays)}
    assert {key for key in arrays if key.startswith("d")} - keys <= {k for k in arrays if k.endswith("of_slot")}
    for table in tables(model, arrays):
        assert len(table.parts) == len(table.values)
        assert len(table.names) == table.values.shape[1]
        assert all(part.component and part.name for part in table.parts)


def test_rows_of_a_feature_are_named_one_by_one():
    model = Model(job(*KINDS["values"]))
    model.add(BATCH)
    for table in tables(model, model.state()[0]):
        names = [(part.component, part.name) for part in table.parts]
        assert len(set(names)) == len(names) or table.key.endswith(".rows"), table.key
        if table.key.endswith(("rows", "seasons", "families", "stillness", "novelty", "streams", "cycles")):
            assert not [name for _, name in names if name.startswith("row ")], table.key


def test_what_is_relative_in_the_state_is_absolute_in_tables():
    model = Model(job(detector("mean", by_field_name="host")))
    model.add(BATCH)
    readings = all_readings(model.detectors)[0, 0][1]
    rows = next(table for table in tables(model, model.state()[0]) if table.key == "d0.f0.rows")
    place = {(part.component, part.name): row for row, part in enumerate(rows.parts)}
    shifts = rows.values[place["change", "shifts accepted"]]
    assert np.allclose(rows.values[place["level", "slow level"]] + shifts, readings.level)
    assert (rows.values[place["spread", "lowest value"]] <= readings.level).all()


def test_series_are_found_by_their_values(model):
    detectors = model.detectors
    every = list(find_series(detectors, ""))
    assert len(every) == sum(each.series.n_series * len(each.traits.features) for each in detectors)
    first = every[0]
    value = next(iter(first.terms.values()))
    field = next(iter(first.terms))
    assert first in list(find_series(detectors, value))
    assert first in list(find_series(detectors, f"0:{field}={value}"))
    assert list(find_series(detectors, f"9:{value}")) == []
    assert list(find_series(detectors, "nobody")) == []


def test_reading_changes_nothing(model):
    before = model.digest()
    for place in find_series(model.detectors, ""):
        Readings.at(model.detectors, place)
    all_readings(model.detectors)
    list(tables(model, model.state()[0]))
    assert model.digest() == before
