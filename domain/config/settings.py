"""The smaller parts of a job's configuration: limits, data description, model plot.

Each has a frozen model, a reader that checks it, and a `resource` in response order.
"""

from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from domain.config.byte_sizes import BYTES_MAX, BYTES_PER_MIB, format_bytes, parse_bytes
from domain.config.fields import Section, check_at_least
from domain.errors import BadRequest
from domain.records.time_format import EPOCH_MS, check_time_format

MODEL_MEMORY_LIMIT_MIB_DEFAULT: Final = 1024
CATEGORIZATION_EXAMPLES_LIMIT_DEFAULT: Final = 4
TIME_FIELD_DEFAULT: Final = "time"

DataFormat = Literal["xcontent", "delimited"]
DATA_FORMATS: Final[tuple[DataFormat, ...]] = get_args(DataFormat)

LIMITS_FIELDS: Final = frozenset({"model_memory_limit", "categorization_examples_limit"})
DATA_FIELDS: Final = frozenset({"format", "time_field", "time_format", "field_delimiter", "quote_character"})
_PLOT_FIELDS: Final = frozenset({"enabled", "terms", "annotations_enabled"})


class AnalysisLimits(BaseModel):
    """How much memory a model may take, and how many examples a category keeps."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    model_memory_limit_mib: int = MODEL_MEMORY_LIMIT_MIB_DEFAULT
    categorization_examples_limit: int = CATEGORIZATION_EXAMPLES_LIMIT_DEFAULT

    def resource(self) -> dict[str, object]:
        """Return the limits as the API shows them."""
        return {
            "model_memory_limit": f"{self.model_memory_limit_mib}mb",
            "categorization_examples_limit": self.categorization_examples_limit,
        }


class DataDescription(BaseModel):
    """In what form the records come and where their time is."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: DataFormat = "xcontent"
    time_field: str = TIME_FIELD_DEFAULT
    time_format: str = EPOCH_MS
    field_delimiter: str | None = None
    quote_character: str | None = None

    def resource(self) -> dict[str, object]:
        """Return the description as the API shows it: the default format and unset characters left out."""
        shown: dict[str, object] = {} if self.format == "xcontent" else {"format": self.format}
        shown |= {"time_field": self.time_field, "time_format": self.time_format}
        if self.field_delimiter is not None:
            shown["field_delimiter"] = self.field_delimiter
        if self.quote_character is not None:
            shown["quote_character"] = self.quote_character
        return shown


class ModelPlotConfig(BaseModel):
    """Whether the bounds of the model are to be kept with the results, and for which values."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    enabled: bool
    terms: str | None = None
    annotations_enabled: bool

    def resource(self) -> dict[str, object]:
        """Return the setting as the API shows it."""
        shown: dict[str, object] = {"enabled": self.enabled}
        if self.terms is not None:
            shown["terms"] = self.terms
        shown["annotations_enabled"] = self.annotations_enabled
        return shown


def read_limits(
    section: Section | None,
    existing: AnalysisLimits | None = None,
    *,
    memory_limit_bytes_max: int | None = None,
) -> AnalysisLimits:
    """Read and check limits; what is not given is taken from `existing`, or else from the defaults.

    Raises
    ------
    BadRequest
        If the memory limit is below 1 MiB or above `memory_limit_bytes_max`.
    InvalidArgument
        If the number of examples is negative.
    """
    limits = existing or AnalysisLimits()
    if section is None:
        return limits
    memory = _read_memory_mib(section)
    examples = section.integer("categorization_examples_limit")
    check_at_least("categorization_examples_limit", examples, 0)
    changes: dict[str, int] = {}
    if memory is not None:
        _check_memory_max(memory, memory_limit_bytes_max)
        changes["model_memory_limit_mib"] = memory
    if examples is not None:
        changes["categorization_examples_limit"] = examples
    return limits.model_copy(update=changes)


def read_data_description(section: Section) -> DataDescription:
    """Read and check a data description, defaults filled in.

    Raises
    ------
    UnknownField
        If a value has the wrong JSON type, or the format is unknown (``json`` is).
    BadRequest
        If a delimiter or quote is not a single character.
    InvalidArgument
        If the time format is neither an epoch nor a pattern that names a date.
    """
    data_format = section.choice("format", DATA_FORMATS) or "xcontent"
    time_format = section.text("time_format")
    if time_format is not None:
        check_time_format(time_format)
    return DataDescription(
        format=data_format,
        time_field=section.name_text("time_field") or TIME_FIELD_DEFAULT,
        time_format=EPOCH_MS if time_format is None else time_format,
        field_delimiter=_read_character(section, "field_delimiter"),
        quote_character=_read_character(section, "quote_character"),
    )


def read_model_plot(section: Section, key: str) -> ModelPlotConfig | None:
    """Read a model plot setting, in which ``annotations_enabled`` follows ``enabled`` unless given."""
    inner = section.section(key, _PLOT_FIELDS)
    if inner is None:
        return None
    enabled = inner.require_flag("enabled")
    annotations = inner.flag("annotations_enabled")
    return ModelPlotConfig(
        enabled=enabled,
        terms=inner.text("terms"),
        annotations_enabled=enabled if annotations is None else annotations,
    )


def _read_memory_mib(section: Section) -> int | None:
    """Return the memory limit in MiB, rounded down: from a number of MiB or from a text with a unit."""
    key = "model_memory_limit"
    value = section.raw(key)
    if value is None:
        return None
    mib = parse_bytes(value, key) // BYTES_PER_MIB if isinstance(value, str) else _whole_mib(section, key)
    if mib < 1:
        reason = f"{key} must be at least 1 MiB. Value = {mib:,}"
        raise BadRequest(reason)
    if mib > BYTES_MAX // BYTES_PER_MIB:
        raise section.refused(key, "a size in bytes of at most 64 bits", value)
    return mib


def _whole_mib(section: Section, key: str) -> int:
    number = section.number(key)
    return 0 if number is None else int(number)


def _check_memory_max(mib: int, bytes_max: int | None) -> None:
    size = mib * BYTES_PER_MIB
    if bytes_max is not None and size > bytes_max:
        reason = (
            f"model_memory_limit [{format_bytes(size)}] must be less than the value of the "
            f"xpack.ml.max_model_memory_limit setting [{format_bytes(bytes_max)}]"
        )
        raise BadRequest(reason)


def _read_character(section: Section, key: str) -> str | None:
    text = section.text(key)
    if text is not None and len(text) != 1:
        reason = f"String must be a single character, found [{text[:256]}]"
        raise BadRequest(reason)
    return text
