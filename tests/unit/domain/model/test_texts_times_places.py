"""Information content, times of day and week, places: what is measured, and what of it is unusual."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from domain.model import RecordResult
from domain.model.accumulators import ACCUMULATORS, Measured, turned
from domain.model.batch_view import parse_places
from domain.model.functions import Feature
from domain.model.times_model import BASE, DAY_SECONDS, TimesModel
from marigraph.resources import record_resource
from tests.checks.jobs import START, detector, job, make_batch, run, text_column

DAY, HOUR = 86_400, 3600


def found(config, batch) -> list[tuple[int, RecordResult]]:  # type: ignore[no-untyped-def]
    model, results = run(config, batch)
    results += model.advance_time(int(batch.time_ms[-1]) + DAY * 1000)
    return [(result.timestamp_ms // 1000, record) for result in results for record in result.records]


# ------------------------------------------------------------------------------------------------------------- content


def test_information_content_is_the_deflated_length_of_the_distinct_texts() -> None:
    accumulator = ACCUMULATORS["content"](2)
    texts = ["beta", "alpha", "beta", "gamma"]
    codes = np.array([0, 1, 2, 0, 3])
    for k in range(5):
        slots = np.array([0, 0, 0, 1, 0])[k : k + 1]
        accumulator.add(Measured(slots, content=(codes[k : k + 1], texts)))
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    expected = len(deflater.compress(b"betaalphagamma") + deflater.flush())
    assert accumulator.value("info_content", np.array([0])).tolist() == [expected]


def test_what_is_kept_of_texts_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.model.kept_accumulators.CONTENT_BYTES_MAX", 10)
    accumulator = ACCUMULATORS["content"](1)
    accumulator.add(Measured(np.zeros(3, np.int64), content=(np.arange(3), ["12345678", "90123", "ab"])))
    assert accumulator.texts() == [["12345678", "ab"]]


def test_texts_with_more_to_say_are_unusual() -> None:
    rng = np.random.default_rng(1)
    seconds = np.arange(START, START + 2 * DAY, 60)
    names = [f"www{rng.integers(0, 4)}.example.org" for _ in seconds]
    leak = slice(150 * 15, 150 * 15 + 15)
    names[leak] = [rng.bytes(30).hex() + ".example.org" for _ in range(15)]
    batch = make_batch(seconds, texts={"user": names})
    (time, best), *_ = sorted(found(job(detector("high_info_content")), batch), key=lambda item: item[1].probability)
    assert time == START + 150 * 900
    assert best.function_description == "info_content"
    assert best.actual[0] > 10 * best.typical[0]
    assert best.record_score > 50


# --------------------------------------------------------------------------------------------------------------- times


def office_hours(n_days: int, start: int = START) -> np.ndarray:  # type: ignore[type-arg]
    hours = np.arange(9, 17, 0.25)
    return (start + np.arange(n_days)[:, None] * DAY + hours * HOUR).ravel()


@pytest.mark.parametrize("function", ["time_of_day", "time_of_week"])
def test_a_record_at_night_is_unusual_and_office_hours_are_not(function: str) -> None:
    # Weekends have records too, so that only the hour is new.
    seconds = np.sort([*office_hours(30), START + 25 * DAY + 3 * HOUR])
    records = found(job(detector(function, by_field_name="host")), make_batch(seconds, texts={"host": ["a"] * 961}))
    (time, best), *others = sorted(records, key=lambda item: -item[1].record_score)
    assert time == START + 25 * DAY + 3 * HOUR
    assert best.record_score > 75
    assert best.actual[0] % DAY == 3 * HOUR
    assert 9 * HOUR <= best.typical[0] % DAY <= 17 * HOUR
    assert all(record.record_score < 25 for _, record in others)


def test_a_saturday_is_unusual_for_the_week_and_not_for_the_day() -> None:
    monday = START - 2 * DAY  # START is a Wednesday
    seconds = office_hours(54, monday).reshape(54, -1)
    is_workday = np.arange(54) % 7 < 5
    seconds = np.sort([*seconds[is_workday].ravel(), monday + 47 * DAY + 12 * HOUR])
    of_week = found(job(detector("time_of_week")), make_batch(seconds))
    of_day = found(job(detector("time_of_day")), make_batch(seconds))
    best = max(of_week, key=lambda item: item[1].record_score)
    assert best[0] == monday + 47 * DAY + 12 * HOUR
    assert best[1].record_score > 50
    assert best[1].actual == [5 * DAY + 12 * HOUR]
    assert best[0] not in [time for time, _ in of_day]


def test_midnight_is_not_the_end_of_the_clock() -> None:
    days = np.arange(40)[:, None] * DAY
    seconds = (START + days + np.array([-20, -10, 0, 10, 20]) * 60.0).ravel()
    seconds[-1] = START + 39 * DAY + 50 * 60  # half an hour late is nothing, 12 hours are
    records = found(job(detector("time_of_day")), make_batch([*seconds, seconds[-1] + 12 * HOUR]))
    best = max(records, key=lambda item: item[1].record_score)
    assert best[1].actual == [12 * HOUR + 50 * 60]


def test_records_all_round_the_clock_are_never_unusual() -> None:
    seconds = np.sort(np.random.default_rng(3).integers(START, START + 40 * DAY, 8000))
    for function in ("time_of_day", "time_of_week"):
        assert max((r.record_score for _, r in found(job(detector(function)), make_batch(seconds))), default=0) < 25


def test_the_time_of_a_bucket_is_the_mean_of_its_records() -> None:
    accumulator = ACCUMULATORS["time"](1)
    accumulator.add(Measured(np.zeros(2, np.int64), np.array([1.7e9, 1.7e9 + 1]), np.array([1.0, 3.0])))
    assert accumulator.value("time_of_day", slice(0, 1)).tolist() == [1.7e9 + 0.75]


# -------------------------------------------------------------------------------------------------------------- places


def test_places_are_read_from_texts() -> None:
    texts = ["51.5,-0.12", " 1 , 2 ", "91,0", "0,181", "x,1", "1", "nan,1", "1,2,3"]
    latitudes, longitudes = parse_places(text_column([*texts, ""]))
    assert latitudes[:2].tolist() == [51.5, 1.0]
    assert longitudes[:2].tolist() == [-0.12, 2.0]
    assert np.isnan(latitudes[2:]).all()
    assert np.isnan(longitudes[2:]).all()


def test_angles_are_turned_the_short_way() -> None:
    assert turned(np.array([0.0, 181.0, -181.0, 359.0, -180.0, 180.0])).tolist() == [0, -179, 179, -1, -180, 180]


def travels() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Ten days between two places either side of the date line, then one far away."""
    rng = np.random.default_rng(5)
    seconds = np.arange(START, START + 10 * DAY, 900)
    centre = np.where(np.arange(seconds.size)[:, None] // 32 % 2, [-17.0, 179.95], [-17.5, -179.5])
    places = centre + rng.normal(0, 0.01, centre.shape)
    places[:, 1] = turned(places[:, 1])
    places[900] = [40.7, -74.0]
    return seconds, places


def test_a_place_far_from_all_others_is_unusual() -> None:
    seconds, places = travels()
    config = job(detector("lat_long", by_field_name="host"))
    texts = [f"{latitude!r},{longitude!r}" for latitude, longitude in places.tolist()]
    records = found(config, make_batch(seconds, texts={"place": texts, "host": ["a"] * seconds.size}))
    (time, best), *others = sorted(records, key=lambda item: -item[1].record_score)
    assert time == seconds[900]
    assert best.record_score > 75
    assert best.actual == [40.7, -74.0]
    assert best.typical == pytest.approx([-17.25, best.typical[1]], abs=0.3)
    assert abs(best.typical[1]) > 179
    assert all(record.record_score < 25 for other, record in others if (other - START) // 900 > 96)


def test_records_of_places_have_geo_results() -> None:
    seconds, places = travels()
    texts = [f"{latitude!r},{longitude!r}" for latitude, longitude in places.tolist()]
    _, results = run(job(detector("lat_long")), make_batch(seconds, texts={"place": texts}))
    result = results[900]
    resource = record_resource("j", result, result.records[0])
    assert resource["function_description"] == "lat_long"
    assert resource["geo_results"]["actual_point"] == "40.7,-74.0"
    assert resource["geo_results"]["typical_point"] == ",".join(map(repr, resource["typical"]))


def test_histograms_brought_down_to_size_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for memories in (10.0, 0.01):
        monkeypatch.setattr("domain.model.times_model.REBASED_AFTER", memories)
        model = TimesModel(Feature("time_of_day"), DAY_SECONDS)
        model.reserve(2)
        for hour in range(24 * 12):
            middle = START + hour * 3600 + 1800.0
            model.learn(model.judge(slice(0, 2), np.array([middle, START + 36_000.0]), middle))
        judged = model.judge(slice(0, 2), np.array([START + 9e6, START + 9e6]), START + 24 * 12 * 3600.0)
        found.append((judged.own, judged.total, model.rows[BASE, 0]))
    assert found[0][2] < found[1][2]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)
