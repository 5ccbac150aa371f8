"""Words: numbers, chances, ratios, times and names as an English sentence says them."""

import math
from typing import Final

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOUR, DAY = 3600.0, 86_400.0


def number(value: float, digits: int = 3) -> str:
    """Format a value with a few significant digits, whole numbers in full.

    >>> number(242.34), number(0.00123456), number(12345.6), number(1200.0), number(-3e9)
    ('242', '0.00123', '12,300', '1,200', '-3e+09')
    """
    if abs(value) < 1e6 and value == int(value):
        return f"{int(value):,}"
    rounded = float(f"{value:.{digits}g}")
    if 1e3 <= abs(rounded) < 1e6:
        return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:,}"
    return f"{value:.{digits}g}"


def numbers(actual: float, typical: float) -> tuple[str, str]:
    """Format two values with as many digits as it takes to tell them apart.

    >>> numbers(242.3, 99.4), numbers(100.212, 100.201)
    (('242', '99.4'), ('100.21', '100.2'))
    """
    for digits in range(3, 8):
        pair = number(actual, digits), number(typical, digits)
        if pair[0] != pair[1] or actual == typical:
            break
    return pair


def chance(probability: float) -> str:
    """Say how rare something of a probability is.

    >>> chance(0.02), chance(1 / 2345), chance(1.2e-9)
    ('1 in 50', '1 in 2,300', '1 in 10^9')
    """
    if probability < 1e-6:
        return f"1 in 10^{round(-math.log10(probability))}"
    return f"1 in {float(f'{1.0 / probability:.2g}'):,.0f}"


def ratio(actual: float, typical: float) -> str:
    """Say how far a value lies from the typical one, by a factor where that means something; empty: not at all.

    >>> ratio(242, 99), ratio(33, 99), ratio(110, 100), ratio(-3, 5), ratio(0, 40)
    ('2.4x above normal', '3x below normal', '10 % above normal', '8 below normal', '')
    """
    if actual == typical or (actual == 0.0 and typical > 0.0):
        return ""
    word = "above" if actual > typical else "below"
    if min(actual, typical) <= 0.0:
        return f"{number(abs(actual - typical), 2)} {word} normal"
    factor = max(actual / typical, typical / actual)
    if factor >= 1000.0:
        return f"more than 1,000x {word} normal"
    if factor >= 1.5:
        shown = f"{factor:.1f}".removesuffix(".0") if factor < 10.0 else f"{factor:.0f}"
        return f"{shown}x {word} normal"
    share = abs(actual / typical - 1.0)
    return f"{share:.0%} {word} normal".replace("%", " %") if share >= 0.01 else ""


def duration(seconds: float) -> str:
    """Say how long something lasted, rounded down.

    >>> duration(21.9 * 86_400), duration(30 * 3600), duration(5400), duration(86_400 * 2)
    ('21 days', '30 hours', '90 minutes', '2 days')
    """
    if seconds >= 2 * DAY:
        return f"{int(seconds // DAY):,} days"
    if seconds >= 2 * HOUR:
        return f"{int(seconds // HOUR)} hours"
    return f"{int(seconds // 60)} minutes"


def clock(phase_seconds: float, *, of_week: bool) -> str:
    """Say a time of the day, or of a week that begins on Monday.

    >>> clock(3 * 3600 + 754, of_week=False), clock(86_400 + 3 * 3600, of_week=True)
    ('03:12', 'Tuesday 03:00')
    """
    minutes = int(phase_seconds % DAY // 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{DAYS[int(phase_seconds // DAY) % 7]} {text}" if of_week else text


def times(n: float, noun: str, none: str = "no") -> str:
    """Say how many of something there are.

    >>> times(1.0, "event"), times(0.0, "event"), times(1234.0, "bucket")
    ('1 event', 'no events', '1,234 buckets')
    """
    if n == 1.0:
        return f"1 {noun}"
    return f"{none if n == 0.0 else number(n)} {noun}s"


def others(field: str) -> str:
    """Name the other members of a population.

    >>> others("user"), others("client_ip"), others("category"), others("process")
    ('other users', 'other values of client_ip', 'other categories', 'other processes')
    """
    return f"other {plural(field)}" if field.isalpha() else f"other values of {field}"


def plural(noun: str) -> str:
    """Return the plural of a field's name, where it is a word; else say it by its values.

    >>> plural("user"), plural("uri_path"), plural("day")
    ('users', 'values of uri_path', 'days')
    """
    if not noun.isalpha():
        return f"values of {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in ("a", "e", "o", "u", ""):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def listed(items: list[str]) -> str:
    """Join items as English does.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def kilometres(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Return a great-circle distance by the haversine formula (Sinnott, 1984).

    >>> round(kilometres(51.5, -0.1, 48.9, 2.4))
    339
    """
    north, east = math.radians(to_latitude - latitude), math.radians(to_longitude - longitude)
    along = math.cos(math.radians(latitude)) * math.cos(math.radians(to_latitude))
    square = math.sin(0.5 * north) ** 2 + along * math.sin(0.5 * east) ** 2
    return 2.0 * 6371.0088 * math.asin(math.sqrt(min(square, 1.0)))
