"""The part of the query DSL that a datafeed can select its records by: read, completed, and held as a tree.

Understood are ``match_all``, ``term``, ``terms``, ``range``, ``exists``, and ``bool`` with ``must``, ``filter``,
``should`` and ``must_not``. What a query means on records at hand is in ``matching.py``; the sources turn the
same tree into SQL or hand :func:`query_resource` on. A tree's own text can always be read again.
"""

from dataclasses import dataclass
from typing import Any, Final

from domain.api_time import parse_datafeed_time
from domain.errors import DomainError, ParseError

CLAUSES_MAX: Final = 1_024  # of one query in all; the limit of the search engine
DEPTH_MAX: Final = 20
VALUES_MAX: Final = 65_536  # of one `terms`; the limit of the search engine
BOOST: Final = 1.0

Scalar = str | int | float | bool

_BOUNDS: Final = ("gt", "gte", "lt", "lte")
_RANGE_FIELDS: Final = frozenset(
    {*_BOUNDS, "from", "to", "include_lower", "include_upper", "format", "time_zone", "boost"}
)
_CLAUSES: Final = ("must", "filter", "must_not", "should")
_UTC: Final = ("UTC", "Z", "+00:00", "-00:00", "GMT")


class QueryError(DomainError):
    """A query that is none, or of a kind that is not understood here."""


@dataclass(frozen=True, slots=True)
class MatchAll:
    """Every record."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Records whose field has one of the values; ``is_single`` was written as ``term``."""

    field: str
    values: tuple[Scalar, ...]
    is_single: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Records whose field lies between two bounds, None being open."""

    field: str
    low: Scalar | None = None
    high: Scalar | None = None
    includes_low: bool = True
    includes_high: bool = True
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """Records that have the field at all."""

    field: str


@dataclass(frozen=True, slots=True)
class Bool:
    """Records for which all of ``must`` and ``filter``, none of ``must_not`` and enough of ``should`` hold."""

    must: tuple["Query", ...] = ()
    filter: tuple["Query", ...] = ()
    must_not: tuple["Query", ...] = ()
    should: tuple["Query", ...] = ()
    minimum_should_match: int | None = None

    @property
    def required(self) -> tuple["Query", ...]:
        """What must hold; scores are of no interest, so that ``must`` and ``filter`` are the same."""
        return (*self.must, *self.filter)

    @property
    def n_should(self) -> int:
        """How many of ``should`` must hold."""
        if self.minimum_should_match is not None:
            return self.minimum_should_match
        return 1 if self.should and not self.required else 0


Query = MatchAll | Terms | Range | Exists | Bool
MATCH_ALL: Final = MatchAll()


def parse_query(body: object) -> Query:
    """Read a query.

    Raises
    ------
    QueryError
        Saying what is wrong with it.
    """
    return _Reader().query(body, 0)


def query_resource(query: Query) -> dict[str, Any]:
    """Return a query with everything spelt out, as the API shows it."""
    match query:
        case MatchAll():
            return {"match_all": {"boost": BOOST}}
        case Terms(field, values, True):
            return {"term": {field: {"value": values[0], "boost": BOOST}}}
        case Terms(field, values):
            return {"terms": {field: list(values), "boost": BOOST}}
        case Exists(field):
            return {"exists": {"field": field, "boost": BOOST}}
        case Range():
            return {"range": {query.field: _range_resource(query)}}
        case Bool():
            return {"bool": _bool_resource(query)}


def query_fields(query: Query) -> frozenset[str]:
    """Return the fields that a query looks at."""
    if isinstance(query, MatchAll):
        return frozenset()
    if isinstance(query, Bool):
        parts = (*query.required, *query.must_not, *query.should)
        return frozenset().union(*(query_fields(part) for part in parts))
    return frozenset({query.field})


def _range_resource(query: Range) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "from": query.low,
        "to": query.high,
        "include_lower": query.includes_low,
        "include_upper": query.includes_high,
    }
    if query.format is not None:
        shown["format"] = query.format
    return {**shown, "boost": BOOST}


def _bool_resource(query: Bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: [query_resource(part) for part in getattr(query, name)] for name in _CLAUSES if getattr(query, name)
    }
    shown["adjust_pure_negative"] = True
    if query.minimum_should_match is not None:
        shown["minimum_should_match"] = str(query.minimum_should_match)
    return {**shown, "boost": BOOST}


class _Reader:
    """Reads one query, counting its clauses."""

    def __init__(self) -> None:
        self._n_clauses = 0

    def query(self, body: object, depth: int) -> Query:
        self._n_clauses += 1
        if self._n_clauses > CLAUSES_MAX or depth > DEPTH_MAX:
            raise _refuse(what=f"expected at most {CLAUSES_MAX} clauses, nested at most {DEPTH_MAX} deep")
        if not isinstance(body, dict) or len(body) != 1:
            raise _refuse(what="expected an object with the name of one kind of query")
        name, inner = next(iter(body.items()))
        if not isinstance(inner, dict):
            raise _refuse(what=f"[{_short(name)}] query malformed, expected an object after the name")
        match name:
            case "match_all":
                _check_names(name, inner, {"boost", "_name"})
                return MATCH_ALL
            case "term":
                return self._term(inner)
            case "terms":
                return self._terms(inner)
            case "range":
                return self._range(inner)
            case "exists":
                _check_names(name, inner, {"field", "boost"})
                return Exists(_field(name, inner.get("field")))
            case "bool":
                return self._bool(inner, depth)
        raise _refuse(what=f"unknown query [{_short(name)}]")

    def _term(self, body: dict[str, Any]) -> Terms:
        field, inner = _single("term", body)
        if isinstance(inner, dict):
            _check_names("term", inner, {"value", "boost"})
            inner = inner.get("value")
        return Terms(field, (_scalar("term", inner),), is_single=True)

    def _terms(self, body: dict[str, Any]) -> Terms:
        field, inner = _single("terms", {name: value for name, value in body.items() if name != "boost"})
        if not isinstance(inner, list) or len(inner) > VALUES_MAX:
            raise _refuse(what=f"[terms] query needs an array of at most {VALUES_MAX} values")
        return Terms(field, tuple(_scalar("terms", value) for value in inner))

    def _range(self, body: dict[str, Any]) -> Range:
        field, inner = _single("range", body)
        if not isinstance(inner, dict):
            raise _refuse(what="[range] query needs an object of bounds")
        _check_names("range", inner, _RANGE_FIELDS)
        if inner.get("time_zone") not in (None, *_UTC):
            raise _refuse(what="[range] query knows no time_zone but UTC")
        low, includes_low = inner.get("from"), inner.get("include_lower", True)
        high, includes_high = inner.get("to"), inner.get("include_upper", True)
        for name in _BOUNDS:
            value = inner.get(name)
            if value is None:
                continue
            if name.startswith("g"):
                low, includes_low = value, name.endswith("e")
            else:
                high, includes_high = value, name.endswith("e")
        if not isinstance(includes_low, bool) or not isinstance(includes_high, bool):
            raise _refuse(what="[range] query: include_lower and include_upper are true or false")
        date_format = inner.get("format")
        if date_format is not None and not isinstance(date_format, str):
            raise _refuse(what="[range] query: format is a text")
        return Range(field, _bound(low), _bound(high), includes_low, includes_high, date_format)

    def _bool(self, body: dict[str, Any], depth: int) -> Bool:
        _check_names("bool", body, {*_CLAUSES, "minimum_should_match", "adjust_pure_negative", "boost", "_name"})
        parts = {name: self._clauses(body.get(name), depth) for name in _CLAUSES}
        return Bool(minimum_should_match=_minimum(body.get("minimum_should_match")), **parts)

    def _clauses(self, body: object, depth: int) -> tuple[Query, ...]:
        if body is None:
            return ()
        items = body if isinstance(body, list) else [body]
        return tuple(self.query(item, depth + 1) for item in items)


def _minimum(value: object) -> int | None:
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 4:
        raise _refuse(what="[bool] query: minimum_should_match is a whole number")
    return int(text)


def _single(name: str, body: dict[str, Any]) -> tuple[str, Any]:
    if len(body) != 1:
        raise _refuse(what=f"[{name}] query needs exactly one field")
    field, inner = next(iter(body.items()))
    return _field(name, field), inner


def _field(name: str, field: object) -> str:
    if not isinstance(field, str) or not field:
        raise _refuse(what=f"[{name}] query needs the name of a field")
    return field


def _scalar(name: str, value: object) -> Scalar:
    if isinstance(value, str | int | float | bool):
        return value
    raise _refuse(what=f"[{name}] query needs a text, a number or a boolean")


def _bound(value: object) -> Scalar | None:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    raise _refuse(what="[range] query: a bound is a text or a number")


def _check_names(name: str, body: dict[str, Any], known: set[str] | frozenset[str]) -> None:
    for key in body:
        if key not in known:
            raise _refuse(what=f"[{name}] query does not support [{_short(key)}]")


def _short(text: object) -> str:
    return str(text)[:100]


def _refuse(*, what: str) -> QueryError:
    return QueryError(what)


def bound_ms(value: Scalar, date_format: str | None = None) -> int | None:
    """Return a bound on a time as milliseconds since the epoch, None if it is no time.

    A number is milliseconds, unless the format says seconds; a text is ISO 8601 or date math on such a date.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if abs(value) < 2**53 else None
    try:
        time_ms = parse_datafeed_time(value, "range")
    except ParseError:
        return None
    is_number = isinstance(value, int) or value.strip().lstrip("+-").isdigit()
    return time_ms * 1000 if is_number and date_format in ("epoch_second", "epoch") else time_ms
