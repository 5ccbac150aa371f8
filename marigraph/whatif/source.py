"""The log of a job, read as if its configuration had been another: the same records and lifecycle events.

Configurations in events are changed as they are read; records get the columns that the changed analysis reads, as far
as what was kept of them gives these. States that a revert goes back to are those of this run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from domain.errors import InvalidArgument
from domain.events import read_config, store_config
from domain.records import RecordBatch, RecordSchema, numbers_of
from marigraph.codec import Recorded
from marigraph.replay import CannotReplay, ModelFold, ModelSource, Records, restored_model, stored_model
from marigraph.whatif.changes import Changes


class Kept(NamedTuple):
    """The state of this run as of a version that the job goes back to later."""

    body: bytes
    latest_result_ms: int | None


@dataclass(slots=True)
class ChangedSource(ModelSource):
    """Gives the events and records of a job under changes.

    Attributes
    ----------
    changes : Changes
    kept : dict of int to Kept
        States by version.
    """

    changes: Changes = field(default_factory=Changes)
    kept: dict[int, Kept] = field(default_factory=dict)
    _schema: RecordSchema | None = None

    def events(self, after_version: int, to_version: int | None = None) -> Iterator[Recorded]:
        """Read the job's events in order, their configurations changed."""
        # not super(): a dataclass with slots is another class than the one that this method was written in
        for item in ModelSource.events(self, after_version, to_version):
            if self.changes and item.event.type in ("created", "updated"):
                config = self.changes.applied(read_config(item.event.config))
                yield item._replace(event=msgspec.structs.replace(item.event, config=store_config(config)))
            else:
                yield item

    def reads(self, schema: RecordSchema) -> None:
        """Say which fields the analysis reads."""
        self._schema = schema

    def unpacked(self, records: Records) -> RecordBatch | None:
        """Return the records of an event, with the columns that the analysis reads.

        Raises
        ------
        InvalidArgument
            What was kept of the records does not give them.
        """
        batch = ModelSource.unpacked(self, records)
        return batch if batch is None or self._schema is None else self._adapted(batch, self._schema)

    def _adapted(self, batch: RecordBatch, schema: RecordSchema) -> RecordBatch:
        numbers, texts = dict(batch.numbers), dict(batch.texts)
        lacking = [f"[{name}] as text" for name in schema.text_fields if name not in texts]
        for name in schema.number_fields:
            if name in numbers:
                continue
            if name in texts:
                numbers[name] = numbers_of(texts[name])
            else:
                lacking.append(f"[{name}] as number")
        if lacking:
            held = [f"[{name}] as number" for name in batch.numbers] + [f"[{name}] as text" for name in batch.texts]
            msg = (
                f"the changed analysis reads {', '.join(lacking)}, which the stored records of job [{self.job_id}] do "
                f"not hold: they hold {', '.join(held) or 'their times only'}, as that is what the job itself reads"
            )
            raise InvalidArgument(msg)
        return replace(batch, numbers=numbers, texts=texts)

    def keep(self, folded: ModelFold) -> None:
        """Keep the state of a fold, which a revert goes back to later."""
        model = folded.model
        if model is not None:
            self.kept[folded.version] = Kept(stored_model(model), model.latest_result_ms)

    def nearest(self, version: int, created_version: int) -> ModelFold:
        """Return the state of this run as of a version that the job goes back to."""
        if version not in self.kept:
            msg = (
                f"job [{self.job_id}] goes back to version {version}, before this replay begins, and no state of "
                "that version is stored"
            )
            raise CannotReplay(msg)
        return ModelFold(self, created_version, restored_model(self.kept[version].body), version)
