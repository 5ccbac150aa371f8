"""Sentences: correct English for every function, and nothing said that the parts do not bear out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.explanation import Evidence, Explanation, Part, Stage
from domain.explanation.sentence import sentence_of

DAY = 86_400.0


def value(name: str, number: float, *parts: Part, rule: Any = "sum") -> Stage:
    return Stage(name, rule, number, list(parts))


def expected(typical: float, day: float = 0.0, week: float = 0.0) -> list[Stage]:
    parts = Part("level", typical - day - week), Part("day", day), Part("week", week)
    return [value("expected", typical, *parts), value("spread", 5.0)]


def explanation(
    function: str,
    actual: float,
    typical: float,
    *,
    field: str | None = "responsetime",
    probability: float = 1e-9,
    stages: list[Stage] | None = None,
    scores: list[Stage] | None = None,
    **terms: str,
) -> Explanation:
    series = {"airline": "AAL"} if not terms else {name: text for name, text in terms.items() if text}
    own = Evidence("value", series, [actual], [typical], expected(typical) if stages is None else stages)
    return Explanation(
        timestamp_ms=0,
        bucket_span_seconds=900,
        detector_index=0,
        function=function,
        function_description=function.removeprefix("high_").removeprefix("low_"),
        field_name=field,
        partition=None,
        by=next(iter(series.items()), None),
        over=None,
        probability=probability,
        initial_record_score=90.0,
        multi_bucket_impact=-5.0,
        evidence=[own],
        stages=scores or [],
    )


def changed(explained: Explanation, **changes: Any) -> Explanation:
    return msgspec.structs.replace(explained, **changes)


@pytest.mark.parametrize(
    ("explained", "sentence"),
    [
        (
            explanation("mean", 242, 99, stages=expected(99, day=20)),
            "responsetime for airline=AAL was 242, typically 99 at this hour; 1 in 10^9; 2.4x above normal",
        ),
        (
            explanation("mean", 242, 99, stages=expected(99, day=3, week=20)),
            "responsetime for airline=AAL was 242, typically 99 at this hour of the week; 1 in 10^9; 2.4x above normal",
        ),
        (
            explanation("mean", 242, 99, stages=expected(99, day=2)),
            "responsetime for airline=AAL was 242, typically 99; 1 in 10^9; 2.4x above normal",
        ),
        (
            explanation("low_min", 33, 99, none=""),
            "lowest responsetime was 33, typically 99; 1 in 10^9; 3x below normal",
        ),
        (
            explanation("sum", 99.5, 99.1, host="a", region="eu", probability=1 / 40),
            "sum of responsetime for region=eu and host=a was 99.5, typically 99.1; 1 in 40",
        ),
        (
            explanation("median", -3, 5, host=""),
            "median responsetime was -3, typically 5; 1 in 10^9; 8 below normal",
        ),
        (
            explanation("high_count", 1, 0.25, field=None),
            "airline=AAL had 1 event, typically 0.25; 1 in 10^9; 4x above normal",
        ),
        (explanation("low_count", 0, 1200, field=None, none=""), "there were no events, typically 1,200; 1 in 10^9"),
        (
            explanation("count", 1, 12, field=None, none=""),
            "there was 1 event, typically 12; 1 in 10^9; 12x below normal",
        ),
        (
            explanation("high_distinct_count", 40, 4, field="user"),
            "airline=AAL had 40 distinct values of user, typically 4; 1 in 10^9; 10x above normal",
        ),
        (
            explanation("info_content", 4000, 2, field="query"),
            "information content of query for airline=AAL was 4,000 bytes, typically 2; 1 in 10^9; "
            "more than 1,000x above normal",
        ),
        (
            changed(explanation("mean", 20, 10), function="metric"),
            "mean responsetime for airline=AAL was 20, typically 10; 1 in 10^9; 2x above normal",
        ),
    ],
)
def test_a_value_is_said_as_people_say_it(explained: Explanation, sentence: str) -> None:
    assert sentence_of(explained) == sentence


def test_buckets_of_a_day_have_no_hour() -> None:
    explained = changed(explanation("mean", 242, 99, stages=expected(99, week=20)), bucket_span_seconds=86_400)
    assert "typically 99 on this day of the week;" in sentence_of(explained)
    assert "typically 99;" in sentence_of(changed(explained, bucket_span_seconds=2 * 86_400))


@pytest.mark.parametrize(
    ("season", "day", "said"),
    [
        ("workday", 0, " at this hour of a working day;"),
        ("workday", 2, " at this hour of a day off;"),
        ("workday", 3, " at this hour of a day off;"),
        ("workday", 4, " at this hour of a working day;"),
        ("period", 0, " at this point of its period;"),
        ("week", 0, " at this hour of the week;"),
    ],
)
def test_the_season_that_moves_most_is_named(season: str, day: int, said: str) -> None:
    stages = [value("expected", 99.0, Part("level", 80.0), Part("day", 4.0), Part(season, 15.0)), value("spread", 5.0)]
    explained = changed(explanation("mean", 242, 99, stages=stages), timestamp_ms=day * 86_400_000)
    assert f"typically 99{said}" in sentence_of(explained)


def test_members_are_compared_with_the_others_of_their_kind() -> None:
    member = Evidence("member", {"user": "bob"}, [200.0], [100.0], [*expected(100), value("plain_spread", 5.0)])
    others = [Evidence("member", {"user": "bob", "host": host}, [9.0], [1.0], []) for host in ("a", "b", "c", "d")]
    explained = changed(explanation("mean", 0, 0), over=("user", "bob"), by=None, evidence=[member])
    said = "responsetime for user=bob was 200, compared with 100 typical of other users; 1 in 10^9; 2x above normal"
    assert sentence_of(explained) == said
    first = msgspec.structs.replace(member, terms={"user": "bob", "host": "x"})
    several = sentence_of(changed(explained, evidence=[first, *others]))
    assert several.endswith("; also unusual at host=a, host=b and 2 more")
    assert sentence_of(changed(explained, evidence=[first, others[0]])).endswith("; also unusual at host=a")


def novel(part: Part, age_days: float, ordinary: float = 10.0) -> list[Stage]:
    young = Part("youth", 1.0, inputs={"age_seconds": age_days * DAY})
    return [
        value("records_broken", part.value, part),
        value("surprise", part.value, young, rule="product"),
        value("novelty", 3.0),
        value("ordinary_score", ordinary),
        value("novelty_score", 80.0),
    ]


def record(name: str, now: float, before: float) -> Part:
    return Part(name, 5.0, inputs={"now": now, "record": before, "mean": 100.0})


@pytest.mark.parametrize(
    ("part", "age", "said"),
    [
        (record("value_high_1", 900.0, 200.0), 21.5, "; never this high in 21 days"),
        (record("value_low_1", -900.0, 0.0), 1.3, "; never this low in 31 hours"),
        (record("value_high_7", 900.0, 200.0), 21.0, "; never this high over 7 buckets in 21 days"),
        (record("residual_low_1", -900.0, 0.0), 9.0, "; never this far below what was expected in 9 days"),
        (record("jump_high_1", 900.0, 200.0), 9.0, "; never changed this much in 9 days"),
        # The record fades by 11 % in three weeks: one that is barely broken may have been higher before.
        (record("value_high_1", 205.0, 200.0), 21.5, "; never this high in 8 days"),
        (record("value_high_1", 200.001, 200.0), 21.5, ""),
    ],
)
def test_what_was_never_seen_is_said_for_as_long_as_it_is_true(part: Part, age: float, said: str) -> None:
    explained = explanation("mean", 242, 99, scores=novel(part, age))
    assert sentence_of(explained).partition("above normal")[2] == said


def test_what_did_not_decide_the_score_is_not_spoken_of() -> None:
    explained = explanation("mean", 242, 99, scores=novel(record("value_high_1", 900.0, 200.0), 21.5, ordinary=90.0))
    assert "never" not in sentence_of(explained)


def test_drifts_are_said_to_show_over_several_buckets() -> None:
    explained = changed(explanation("mean", 110, 100), multi_bucket_impact=4.0)
    assert sentence_of(explained).endswith("; 10 % above normal; it shows over several buckets")


def rare(seen: float, *, total: float = 2000.0, **terms: str) -> Explanation:
    stages = [value("occurrences", seen), value("sightings", total), value("chance", 0.1)]
    base = explanation("rare", 1.0, 0.0, field=None, probability=1 / 1300)
    evidence = Evidence("rare", terms, [1.0], [0.0], stages)
    return changed(base, evidence=[evidence], by=("user", terms["user"]) if "user" in terms else None)


@pytest.mark.parametrize(
    ("explained", "sentence"),
    [
        (
            rare(1.0, user="bob"),
            "user=bob is rare: seen in 1 bucket before, among 2,000 sightings of users; 1 in 1,300",
        ),
        (rare(0.0, user="bob"), "user=bob is rare: never seen before among 2,000 sightings of users; 1 in 1,300"),
        (
            changed(rare(2.8, user="bob", host="a"), partition=("host", "a")),
            "user=bob is rare for host=a: seen in about 3 buckets before, among 2,000 sightings of users; 1 in 1,300",
        ),
        (
            changed(rare(2.0, visitor="v", page="admin"), over=("visitor", "v")),
            "visitor=v is rare: page=admin was seen with 2 visitors before; 1 in 1,300",
        ),
        (
            changed(rare(0.0, visitor="v", page="admin"), over=("visitor", "v"), function="freq_rare"),
            "visitor=v did rare things often: page=admin was never seen with any visitor before; 1 in 1,300",
        ),
    ],
)
def test_rare_values_are_said_by_how_often_they_were_seen(explained: Explanation, sentence: str) -> None:
    assert sentence_of(explained) == sentence


def test_times_are_said_by_the_clock() -> None:
    evidence = Evidence("time", {"host": "a"}, [3 * 3600.0], [15.5 * 3600.0], [])
    explained = changed(explanation("time_of_day", 0, 0, field=None, probability=1 / 2000), evidence=[evidence])
    assert sentence_of(explained) == "host=a had records at 03:00 UTC, typically at 15:30; 1 in 2,000"
    of_week = changed(explained, function_description="time_of_week")
    assert sentence_of(of_week) == "host=a had records on Monday 03:00 UTC, typically on Monday 15:30; 1 in 2,000"
    alone = changed(explained, evidence=[msgspec.structs.replace(evidence, terms={})])
    assert sentence_of(alone).startswith("there were records at 03:00 UTC, typically")


def test_places_are_said_with_their_distance() -> None:
    evidence = Evidence("place", {"user": "bob"}, [48.9, 2.4], [51.5, -0.1], [])
    explained = changed(explanation("lat_long", 0, 0, field="place"), evidence=[evidence])
    assert sentence_of(explained) == "place for user=bob was 48.9,2.4, typically 51.5,-0.1; 1 in 10^9; 339 km away"
