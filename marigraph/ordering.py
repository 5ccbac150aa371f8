"""In what order results are listed: by any field of the resource, those with columns of their own being the fast ones.

Fields that differ between results (the fields of the data) are known from the job's configuration; a name that no
result can have is refused.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Table, func

from domain.errors import BadRequest

TEXTS: Final = {
    "records": (
        *("function", "function_description", "field_name", "by_field_name", "by_field_value", "over_field_name"),
        *("over_field_value", "partition_field_name", "partition_field_value", "result_type"),
    ),
    "buckets": ("result_type",),
    "influencers": ("result_type",),
}
"""Fields of a table's resources that have no column, and are text."""

NUMBERS: Final = {
    "records": ("bucket_span", "multi_bucket_impact"),
    "buckets": (),
    "influencers": ("bucket_span",),
}
LISTS_OF_NUMBERS: Final = {"records": ("actual", "typical"), "buckets": (), "influencers": ()}
"""Fields that are arrays; the first element counts."""

HIDDEN: Final = ("body", "sequence")


def order_by(
    table: Table, name: str, *, is_descending: bool, data_fields: Sequence[str] = ()
) -> Iterator[ColumnElement[Any]]:
    """Return what to order a list by: the field, then the time in the same direction, then as it was written.

    Parameters
    ----------
    table : Table
        One of ``RESULT_TABLES``.
    data_fields : sequence of str
        Fields of the job's data, which its records and influencers have too.

    Raises
    ------
    BadRequest
        There is no such field.
    """
    field = _field(table, name, data_fields)
    order = field.desc() if is_descending else field.asc()
    yield order if name in table.c else order.nulls_last()
    if name != "timestamp":
        yield table.c.timestamp.desc() if is_descending else table.c.timestamp.asc()
    if "sequence" in table.c:
        yield table.c.sequence.asc()


def _field(table: Table, name: str, data_fields: Sequence[str]) -> ColumnElement[Any]:
    if name in table.c and name not in HIDDEN:
        return table.c[name]
    texts, numbers, lists = TEXTS[table.name], NUMBERS[table.name], LISTS_OF_NUMBERS[table.name]
    is_of_data = name in data_fields and table.name != "buckets"
    if name in (*texts, *numbers, *lists) or is_of_data:
        is_list = name in lists or (is_of_data and table.name == "records")
        element = func.json(table.c.body, type_=JSON)[(name, 0) if is_list else name]
        found: ColumnElement[Any] = element.as_float() if name in (*numbers, *lists) else element.as_string()
        return found
    known = sorted({*table.c.keys(), *texts, *numbers, *lists, *data_fields} - set(HIDDEN))
    msg = f"cannot sort by [{name[:256]}]; sort by one of: {', '.join(known)}"
    raise BadRequest(msg)
