"""The sentence of an explanation: what was seen, what is usual, how rare that is, and what decided the score.

Its clauses are joined by semicolons: ``responsetime for airline=AAL was 242, typically 99 at this hour; 1 in 10^9; 2.4x
above normal``.
"""

import math
from typing import Final

from domain.explanation import words
from domain.explanation.parts import Evidence, Explanation, Part
from domain.model.novelty import RECORD_MEMORY_SECONDS

SEASON_SHARE: Final = 0.5
"""A season is spoken of if it moves what is expected by more than this part of the spread. Chosen: less is not
seen."""
IMPACT_SPOKEN: Final = 3.0
"""Multi-bucket impact from which an anomaly is said to show over several buckets. Chosen: 60 times less likely
there."""
SEASONS: Final = ("day", "week", "workday", "period")
DAY_SECONDS: Final = 86_400
EPOCH_WEEKDAY: Final = 3
"""1970 began on a Thursday; Monday is 0."""
DAYS_OFF: Final = ("Saturday", "Sunday")

_MEASURES: Final = {
    "mean": "{field}",
    "min": "lowest {field}",
    "max": "highest {field}",
    "median": "median {field}",
    "sum": "sum of {field}",
    "non_null_sum": "sum of {field}",
    "varp": "variance of {field}",
    "info_content": "information content of {field}",
}
_COUNTS: Final = {"count": "event", "non_zero_count": "event", "distinct_count": "distinct value"}


def sentence_of(explanation: Explanation) -> str:
    """Return the explanation as one English sentence."""
    evidence = explanation.evidence[0]
    clauses = {
        "value": _value_clauses,
        "member": _value_clauses,
        "rare": _rare_clauses,
        "time": _time_clauses,
        "place": _place_clauses,
    }[evidence.kind](explanation, evidence)
    if len(explanation.evidence) > 1:
        clauses.append(_also(explanation))
    return "; ".join(clause for clause in clauses if clause)


# -------------------------------------------------------------------------------------------------------------- values


def _value_clauses(explanation: Explanation, evidence: Evidence) -> list[str]:
    actual, typical = evidence.actual[0], evidence.typical[0]
    description = explanation.function_description
    usual = _usual(explanation, words.numbers(actual, typical)[1], _when(explanation, evidence))
    if description in _COUNTS:
        noun = _COUNTS[description]
        seen = words.times(actual, noun)
        if description == "distinct_count":
            seen += f" of {explanation.field_name}"
        terms = _terms(evidence)
        subject = f"{terms} had" if terms else f"there {'was' if actual == 1.0 else 'were'}"
        what = f"{subject} {seen}"
    else:
        measure = _MEASURES[description].format(field=explanation.field_name)
        if explanation.function == "metric" and description == "mean":
            measure = f"mean {measure}"
        unit = " bytes" if description == "info_content" else ""
        what = f"{measure}{_of_terms(evidence)} was {words.numbers(actual, typical)[0]}{unit}"
    return [
        f"{what}, {usual}",
        words.chance(explanation.probability),
        words.ratio(actual, typical),
        _stillness(evidence),
        _news(explanation),
        _over_buckets(explanation),
    ]


def _usual(explanation: Explanation, typical: str, when: str = "") -> str:
    """Say what is typical, and of whom."""
    if explanation.over is None:
        return f"typically {typical}{when}"
    return f"compared with {typical} typical of {words.others(explanation.over[0])}{when}"


def _when(explanation: Explanation, evidence: Evidence) -> str:
    """Say of which time the expected value is, if seasons have a say in it."""
    expected = evidence.stage("expected")
    assert expected is not None
    in_logs = expected.rule == "product"
    spread = evidence.stage("spread") or evidence.stage("log_spread" if in_logs else "plain_spread")
    assert spread is not None
    sizes = {
        part.name: abs(math.log(part.value)) if in_logs else abs(part.value)
        for part in expected.parts
        if part.name in SEASONS
    }
    if not sizes or sum(sizes.values()) <= SEASON_SHARE * spread.value:
        return ""
    season = max(sizes, key=lambda name: sizes[name])
    if season == "period":
        return " at this point of its period"
    if explanation.bucket_span_seconds >= DAY_SECONDS:
        return " on this day of the week" if explanation.bucket_span_seconds == DAY_SECONDS else ""
    if season == "workday":
        day = words.DAYS[int((explanation.timestamp_ms // 1000 // DAY_SECONDS + EPOCH_WEEKDAY) % 7)]
        return " at this hour of a day off" if day in DAYS_OFF else " at this hour of a working day"
    return " at this hour of the week" if season == "week" else " at this hour"


def _news(explanation: Explanation) -> str:
    """Say what was never seen before, if that decided the score."""
    if explanation.value("novelty_score") < explanation.value("ordinary_score") or explanation.value("novelty") <= 0.0:
        return ""
    broken = explanation.stage("records_broken")
    assert broken is not None
    youth = next(part for part in explanation.stage("surprise").parts if part.name == "youth")  # type: ignore[union-attr]
    age = youth.inputs["age_seconds"]
    since = {part.name: min(age, _unbroken_seconds(part)) for part in broken.parts}
    of_value = [name for name in since if name.startswith("value") and since[name] >= 0.5 * age]
    best = max(of_value or since, key=lambda name: (since[name], name.endswith("_1")))
    if since[best] < explanation.bucket_span_seconds or since[best] < words.HOUR:
        return ""
    stream, direction, buckets = best.split("_")
    what = {
        "value": f"this {direction}",
        "residual": f"this far {'above' if direction == 'high' else 'below'} what was expected",
        "jump": "changed this much",
    }[stream]
    lasting = "" if buckets == "1" else f" over {buckets} buckets"
    return f"never {what}{lasting} in {words.duration(since[best])}"


def _unbroken_seconds(part: Part) -> float:
    """Return for how long a record was certainly not reached before.

    Records fade towards the mean, so one that is broken now may have been higher long ago; by how much a value exceeds
    it says since when it cannot have been.
    """
    distance = abs(part.inputs["record"] - part.inputs["mean"])
    if distance == 0.0:
        return math.inf
    return RECORD_MEMORY_SECONDS * math.log(abs(part.inputs["now"] - part.inputs["mean"]) / distance)


def _stillness(evidence: Evidence) -> str:
    """Say that a series stands still, if that is what makes it unusual."""
    still, chance = evidence.stage("standing_still"), evidence.stage("probability")
    return "it stands still" if still is not None and chance is not None and still.value <= chance.value else ""


def _over_buckets(explanation: Explanation) -> str:
    return "it shows over several buckets" if explanation.multi_bucket_impact >= IMPACT_SPOKEN else ""


# ------------------------------------------------------------------------------------------- rare values, times, places


def _rare_clauses(explanation: Explanation, evidence: Evidence) -> list[str]:
    occurrences = evidence.stage("occurrences")
    assert occurrences is not None
    seen = round(occurrences.value)
    about = "about " if abs(occurrences.value - seen) > 0.05 else ""
    if explanation.over is not None:
        return _rare_member_clauses(explanation, evidence, seen)
    assert explanation.by is not None
    field, value = explanation.by
    scope = f" for {_pair(*explanation.partition)}" if explanation.partition else ""
    sightings = evidence.stage("sightings")
    assert sightings is not None
    total = sightings.value
    among = f"among {words.times(round(total), 'sighting')} of {words.plural(field)}"
    if seen == 0:
        what = f"{_pair(field, value)} is rare{scope}: never seen before {among}"
    else:
        what = f"{_pair(field, value)} is rare{scope}: seen in {about}{words.times(seen, 'bucket')} before, {among}"
    return [what, words.chance(explanation.probability)]


def _rare_member_clauses(explanation: Explanation, evidence: Evidence, seen: int) -> list[str]:
    assert explanation.over is not None
    field, value = explanation.over
    terms = {name: text for name, text in evidence.terms.items() if name != field}
    by = next(reversed(terms)) if terms else field
    had = "did rare things often:" if explanation.function == "freq_rare" else "is rare:"
    members = f"{seen:,} {words.plural(field) if seen != 1 else field}" if field.isalpha() else f"{seen:,} of {field}"
    with_ = f"never seen with any {field} before" if seen == 0 else f"seen with {members} before"
    others = {name: text for name, text in terms.items() if name != by}
    scope = f" for {words.listed([_pair(*each) for each in others.items()])}" if others else ""
    return [
        f"{_pair(field, value)} {had} {_pair(by, terms.get(by, ''))}{scope} was {with_}",
        words.chance(explanation.probability),
    ]


def _time_clauses(explanation: Explanation, evidence: Evidence) -> list[str]:
    of_week = explanation.function_description == "time_of_week"
    at, usual = (words.clock(each[0], of_week=of_week) for each in (evidence.actual, evidence.typical))
    terms = _terms(evidence)
    before = "on" if of_week else "at"
    if explanation.over is None:
        usual = f"{before} {usual}"
    return [
        f"{f'{terms} had' if terms else 'there were'} records {before} {at} UTC, {_usual(explanation, usual)}",
        words.chance(explanation.probability),
    ]


def _place_clauses(explanation: Explanation, evidence: Evidence) -> list[str]:
    actual, typical = (",".join(f"{degrees:.4g}" for degrees in each) for each in (evidence.actual, evidence.typical))
    away = words.kilometres(*evidence.actual, *evidence.typical)
    return [
        f"{explanation.field_name}{_of_terms(evidence)} was {actual}, {_usual(explanation, typical)}",
        words.chance(explanation.probability),
        f"{words.number(away)} km away",
    ]


# -------------------------------------------------------------------------------------------------------------- names


def _also(explanation: Explanation) -> str:
    """Name the other attributes at which a member was unusual."""
    first = explanation.evidence[0].terms
    others = []
    for evidence in explanation.evidence[1:]:
        own = [_pair(name, value) for name, value in evidence.terms.items() if first[name] != value]
        others.append(words.listed(own) if own else _terms(evidence))
    shown = others[:2]
    rest = len(others) - len(shown)
    return f"also unusual at {words.listed([*shown, f'{rest} more'] if rest else shown)}"


def _of_terms(evidence: Evidence) -> str:
    terms = _terms(evidence)
    return f" for {terms}" if terms else ""


def _terms(evidence: Evidence) -> str:
    return words.listed([_pair(*each) for each in reversed(evidence.terms.items())]) if evidence.terms else ""


def _pair(name: str, value: str) -> str:
    return f"{name}={value}" if value else f"{name}=(none)"
