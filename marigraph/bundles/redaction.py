"""Other logs of a job that give the same results: decrypted, or redacted, with tokens for the values of some fields.

Fields that may be redacted only tell series and influences apart; what they say is nothing to the analysis but a name.
Everything that people may have written into an event (descriptions, settings of their own, reasons, names of persons)
is left out of a redacted log, by a list of what stays.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Protocol

import msgspec

from domain.config import MLCATEGORY, JobConfig
from domain.config.detector import describe
from domain.erasure import SETTING
from domain.errors import InvalidArgument, Unsupported
from domain.events import EVENT_TYPES, Event, read_config, store_config
from domain.records import RecordBatch, TextColumn
from marigraph.resources import RESERVED
from marigraph.results import Row

REDACTED: Final = "redacted"
_WORD = re.compile(r"\w+")
NO_TERM: Final = "-"
"""A plot's term that no series has: tokens have no such letter."""


def redactable(config: JobConfig) -> dict[str, str | None]:
    """Return the fields that only tell apart, each with what keeps it from being redacted (None: nothing)."""
    names = [name for detector in config.detectors for name in detector.term_fields]
    fields = dict.fromkeys((*names, *config.influencers))
    measured = {each.field_name: each.base_function for each in config.detectors if each.field_name is not None}
    reasons: dict[str, str | None] = {}
    for name in fields:
        if name == MLCATEGORY:
            continue
        reasons[name] = None
        if name in measured:
            reasons[name] = f"{measured[name]}({name}) measures it"
        elif name == config.summary_count_field_name:
            reasons[name] = "it is the summary count"
        elif name == config.categorization_field_name:
            reasons[name] = "its texts are categorized"
    return reasons


def check_fields(configs: Iterable[JobConfig], wanted: Collection[str]) -> None:
    """Refuse fields that cannot be redacted.

    Raises
    ------
    InvalidArgument
        The field tells nothing apart, or the analysis reads more in it than names.
    """
    for config in configs:
        allowed = redactable(config)
        for name in wanted:
            if name not in allowed:
                names = ", ".join(f"[{each}]" for each, reason in allowed.items() if reason is None) or "none"
                msg = (
                    f"[{name}] is no by, over or partition field and no influencer: only these can be redacted: {names}"
                )
                raise InvalidArgument(msg)
            if allowed[name] is not None:
                msg = f"[{name}] cannot be redacted: {allowed[name]}, and results would not be the same"
                raise InvalidArgument(msg)


@dataclass(slots=True)
class Values:
    """The texts that the records of a job hold, as far as redaction has to know them."""

    fields: frozenset[str]
    redacted: set[str] = field(default_factory=set)
    others: dict[str, set[str]] = field(default_factory=dict)

    def add(self, batch: RecordBatch) -> None:
        """Take note of the texts of a batch."""
        for name, column in batch.texts.items():
            if name in self.fields:
                self.redacted.update(column.values)
            else:
                self.others.setdefault(name, set()).update(column.values)

    def also_in(self, more: dict[str, Iterable[str]]) -> list[str]:
        """Return the fields that are kept, and other places, whose texts hold a value as a word or several."""
        shown = _Phrases(self.redacted)
        places: dict[str, Iterable[str]] = {**self.others, **more}
        return sorted(name for name, texts in places.items() if any(map(shown.are_in, texts)))


class _Phrases:
    """Finds phrases in texts, whatever stands between words."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._by_first: dict[str, list[list[str]]] = {}
        self._wordless: set[str] = set()
        for phrase in phrases:
            words = _words(phrase)
            if words:
                self._by_first.setdefault(words[0], []).append(words)
            else:
                self._wordless.add(phrase)

    def are_in(self, text: str) -> bool:
        """Tell whether a text holds any of them."""
        words = _words(text)
        return text in self._wordless or any(
            words[place : place + len(phrase)] == phrase
            for place, word in enumerate(words)
            for phrase in self._by_first.get(word, ())
        )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


class Rewriter(Protocol):
    """Makes another log of that of a job, which gives the same results."""

    keeps_context: ClassVar[bool]
    """Whether events still say who, why and in which request."""

    def batch(self, batch: RecordBatch) -> RecordBatch:
        """Return the records of an event."""

    def event(self, event: Any, **changes: Any) -> Event:
        """Return an event with some fields changed."""

    def row(self, row: Row) -> Row:
        """Return a row of results."""


class Decryptor:
    """Writes the log of an erasable job as that of one that is not; all else stays."""

    keeps_context: ClassVar[bool] = True

    def batch(self, batch: RecordBatch) -> RecordBatch:
        """Return the records of an event."""
        return batch

    def event(self, event: Any, **changes: Any) -> Event:
        """Return an event whose configuration asks for no encryption."""
        values = {**msgspec.structs.asdict(event), **changes}
        if "config" in values:
            kept = {
                name: value for name, value in (values["config"]["custom_settings"] or {}).items() if name != SETTING
            }
            values["config"] = {**values["config"], "custom_settings": kept or None}
        return EVENT_TYPES[event.type](**values)

    def row(self, row: Row) -> Row:
        """Return a row of results."""
        return row


@dataclass(frozen=True, slots=True)
class Redactor:
    """Puts tokens in the place of values.

    Attributes
    ----------
    config : JobConfig
        Of the job; which fields its detectors have never changes.
    kept_terms : frozenset of str
        Values of fields that are not redacted.
    """

    keeps_context: ClassVar[bool] = False

    config: JobConfig
    fields: frozenset[str]
    tokens: dict[str, str]
    kept_terms: frozenset[str] = frozenset()

    # --------------------------------------------------------------------------------------------------- records

    def batch(self, batch: RecordBatch) -> RecordBatch:
        """Return the records with tokens."""
        texts = {
            name: TextColumn(column.codes, [self.tokens[value] for value in column.values])
            if name in self.fields
            else column
            for name, column in batch.texts.items()
        }
        return replace(batch, texts=texts)

    # ---------------------------------------------------------------------------------------------------- events

    def event(self, event: Any, **changes: Any) -> Event:
        """Return an event without anything that people wrote.

        Parameters
        ----------
        changes : object
            Values of fields that the records decide: digests.

        Raises
        ------
        Unsupported
            It is of a type of which nobody has said what may stay.
        """
        keep = _KEPT.get(event.type)
        if keep is None:
            msg = f"events of type [{event.type}] cannot be redacted yet"
            raise Unsupported(msg)
        values = msgspec.structs.asdict(event)
        return EVENT_TYPES[event.type](**{**values, **keep(self, event), **changes})

    def stored_config(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return a configuration as far as it concerns the analysis."""
        config = read_config(stored)
        analysis = config.analysis_config
        detectors = tuple(
            each.model_copy(update={"detector_description": describe(each)}) for each in analysis.detectors
        )
        plot = config.model_plot_config
        if plot is not None:
            plot = plot.model_copy(update={"terms": self._terms(plot.terms)})
        return store_config(
            config.model_copy(
                update={
                    "analysis_config": analysis.model_copy(update={"detectors": detectors}),
                    "model_plot_config": plot,
                    "groups": (),
                    "description": None,
                    "custom_settings": None,
                    "results_index_name": JobConfig.model_fields["results_index_name"].default,
                }
            )
        )

    def _terms(self, terms: str | None) -> str | None:
        """Return the terms of a plot: those that are values, as their tokens."""
        named = {term.strip() for term in (terms or "").split(",")} - {""}
        if not named:
            return None
        kept = {self.tokens[term] for term in named if term in self.tokens} | (named & self.kept_terms)
        return ",".join(sorted(kept)) or NO_TERM

    # --------------------------------------------------------------------------------------------------- results

    def row(self, row: Row) -> Row:
        """Return a row of results with tokens."""
        changed = dict(row)
        if "body" in row:
            changed["body"] = msgspec.json.encode(self._resource(msgspec.json.decode(row["body"]))).decode()
        if row.get("influencer_field_name") in self.fields:
            changed["influencer_field_value"] = self._token(row["influencer_field_value"])
        if "scope" in row:
            changed["scope"] = self._scope(row["scope"])
        if "model_feature" in row:
            detector = self.config.detectors[row["detector_index"]]
            for kind in ("partition", "by"):
                if getattr(detector, f"{kind}_field_name") in self.fields:
                    changed[f"{kind}_field_value"] = self._token(row[f"{kind}_field_value"])
        return changed

    def _scope(self, scope: str) -> str:
        """Return a scope of score bases with tokens; see ``domain/model/hindsight.py`` for its form."""
        parts = msgspec.json.decode(scope)
        if len(parts) < 3:
            return scope
        index, feature, *name = parts
        detector = self.config.detectors[index]
        terms = (detector.partition_field_name, detector.by_field_name, detector.over_field_name)
        named = [each for each in terms if each is not None]
        if len(named) == len(name):
            name = [
                self._token(value) if each in self.fields else value for each, value in zip(named, name, strict=True)
            ]
        elif self.fields.intersection(named):
            name = [self._token(value) for value in name]
        return msgspec.json.encode([index, feature, *name]).decode()

    def _resource(self, resource: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for key, value in resource.items():
            kind = key.partition("_field_value")[0]
            if (
                key in (f"{kind}_field_value", f"{kind}_field_values")
                and resource.get(f"{kind}_field_name") in self.fields
            ) or (key in self.fields and key not in RESERVED):
                changed[key] = self._token(value)
            elif isinstance(value, list):
                changed[key] = [self._resource(each) if isinstance(each, dict) else each for each in value]
            else:
                changed[key] = value
        return changed

    def _token(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._token(each) for each in value]
        return self.tokens.get(value, value)


def _is_whole(_redactor: Redactor, _event: Any) -> dict[str, Any]:
    return {}


_KEPT: dict[str, Callable[[Redactor, Any], dict[str, Any]]] = {
    "created": lambda redactor, event: {"config": redactor.stored_config(event.config)},
    "updated": lambda redactor, event: {"config": redactor.stored_config(event.config), "changes": {}},
    "opened": _is_whole,
    "data_posted": _is_whole,
    "flushed": _is_whole,
    "snapshot_persisted": lambda _redactor, _event: {"description": ""},
    "closed": _is_whole,
    "failed": lambda _redactor, _event: {"reason": REDACTED},
    "snapshot_reverted": _is_whole,
    "snapshot_updated": lambda _redactor, event: {"description": None if event.description is None else REDACTED},
    "snapshot_deleted": _is_whole,
    "payloads_dropped": _is_whole,
    "results_dropped": _is_whole,
    "erased": _is_whole,
    "reassigned": lambda _redactor, _event: {"owner": REDACTED, "previous_owner": REDACTED},
    "deleted": _is_whole,
}
"""What becomes of an event of each type: the fields that are not taken over as they are."""
