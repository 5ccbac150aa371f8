"""Makes a bundle: the events of one job, the records that a replay needs, the state that it begins at, and its results.

Without redaction events are copied as they are, so their hashes are those of the job's own log. With it they are
written anew, and replayed on the way: digests of states are those of the redacted log.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from domain.erasure import is_erasable
from domain.errors import AlreadyExists, Conflict
from domain.events import ResultsDropped, store_config
from domain.job import Job
from domain.model import Model, encode_state
from domain.records import RecordBatch, encode_batch
from eventstore import NO_STREAM, EventStore, Payload, StoredEvent
from eventstore.chain import GENESIS, hash_stored
from eventstore.copy import consistent_view
from eventstore.extract import StreamWriter
from marigraph import schema
from marigraph.application import Application
from marigraph.bootstrap import bootstrap
from marigraph.bundles.manifest import (
    FORMAT,
    Manifest,
    Recorded,
    Redaction,
    manifest_event,
    stream_of_bundle,
    versions_here,
)
from marigraph.bundles.redaction import Decryptor, Redactor, Rewriter, Values, check_fields
from marigraph.bundles.tokens import draw_tokens
from marigraph.codec import Recorded as Item
from marigraph.codec import new_event, recorded, stream_of
from marigraph.queries import require_job
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelFold, ModelSource
from marigraph.replay_plan import Beginning, Plan, find_beginning, plan_replay
from marigraph.results import subscriber_of
from marigraph.scratch import TABLES, ResultSink, digest_tables, pages, results_file, stored_rows
from marigraph.settings import Settings
from marigraph.tables import job_stats
from marigraph.whatif.source import ChangedSource

APPLICATION_ID: Final = 0x4D47424E
"""``MGBN``: lets tools tell a bundle from other SQLite files."""
PAGE_BYTES: Final = 1_024
"""Of the file. Chosen: a database has some sixty tables and indices, most of them with nothing in a bundle."""
ROWS_PER_INSERT: Final = 1_000

BESIDE_SQLITE: Final = ("-journal", "-wal", "-shm")
"""Endings of the files that SQLite keeps beside one."""

OnRecords = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a bundle.

    Attributes
    ----------
    from_ms : int or None
        Records from this time on, and the nearest model state before; None: everything.
    redact : tuple of str
        Fields whose values become tokens.
    allows_shared : bool
        Whether values that are redacted may stand in what is kept.
    decrypts : bool
        Whether records of an erasable job may lie in the bundle as anybody can read them.
    """

    from_ms: int | None = None
    redact: tuple[str, ...] = ()
    allows_shared: bool = False
    decrypts: bool = False


EVERYTHING = Wish()


@dataclass(frozen=True, slots=True)
class Created:
    """A bundle that was made; ``tokens`` by value is for its maker only."""

    path: Path
    manifest: Manifest
    tokens: dict[str, str] = field(default_factory=dict, repr=False)


def create_bundle(
    app: Application, job_id: str, path: Path, wish: Wish = EVERYTHING, on_records: OnRecords = lambda _n: None
) -> Created:
    """Make a bundle of a job.

    Parameters
    ----------
    path : Path
        The file to make; there must be none.
    on_records : callable
        Told how many records were handled since it was last called.

    Raises
    ------
    NotFound, AlreadyExists
        There is no such job, or such a file.
    InvalidArgument, Conflict
        A field cannot be redacted, or its values stand elsewhere.
    CannotReplay
        The records are no longer kept.
    """
    if path.exists():
        msg = f"the file {path} exists already; name another with -o"
        raise AlreadyExists(msg)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        schema.upgrade(str(unfinished))
        with EventStore.connect(str(unfinished)) as target:
            created = _Making(app, job_id, wish, target).make(on_records)
        _finish(unfinished)
        unfinished.rename(path)
    finally:
        for ending in ("", *BESIDE_SQLITE):
            unfinished.with_name(unfinished.name + ending).unlink(missing_ok=True)
    return Created(path, *created)


def _finish(path: Path) -> None:
    """Project the job, so that a reader need not write; leave one small file."""
    app = bootstrap(Settings(str(path)))
    try:
        app.project()
    finally:
        app.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("VACUUM")


@dataclass(slots=True)
class _Making:
    app: Application
    job_id: str
    wish: Wish
    target: EventStore

    def make(self, on_records: OnRecords) -> tuple[Manifest, dict[str, str]]:
        """Fill the target; return what it holds, and the tokens."""
        stored = ModelSource(self.app.store, self.app.codec, self.job_id)
        with consistent_view(self.app.store) as view:
            results_to = self.app.store.read_checkpoint(subscriber_of(self.job_id), view)
            job = require_job(self.app, self.job_id)
            check_fields([job.settings()], self.wish.redact)
            is_encrypted = is_erasable(job.settings().custom_settings)
            self._check_decrypts(is_encrypted)
            plan = plan_replay(stored, job.created_version, job.version, self.wish.from_ms)
            beginning = self._beginning(stored, plan)
            values = self._values(stored, job, plan, on_records) if self.wish.redact else None
            redactor = None if values is None else self._redactor(job, values)
            rewriter = redactor or (Decryptor() if is_encrypted else None)
            from_ms = None if beginning is None else _end_of(beginning.folded.model)
            with self.target.transaction() as writing:
                self._copy_results(view, writing, results_to, from_ms, rewriter)
        with self.target.transaction() as writing:
            writer = StreamWriter(writing, stream_of(self.job_id))
            made = _Copy(stored, job, plan, beginning, writer, results_to)
            is_equal = True
            if rewriter is None:
                made.copy(on_records)
                state_digest = _digest(stored.fold_at(results_to, job.created_version).model)
            else:
                state_digest, is_equal = self._rewritten(made, rewriter, writing, from_ms, on_records)
            writer.finish()
            made.save_states(self.target, writing)
        with self.target.reading() as connection:
            tables = digest_tables(connection, self.job_id, from_ms)
        manifest = Manifest(
            format=FORMAT,
            job_id=self.job_id,
            created_ms=self.app.now_ms(),
            schema_revision=schema.HEAD_REVISION,
            begins_at_version=made.begins_at,
            from_ms=from_ms,
            event_count=job.version,
            record_count=made.record_count,
            recorded=Recorded(results_to, STATE_SCHEMA, state_digest, tables),
            versions=versions_here(),
            is_decrypted=is_encrypted,
            redaction=None if redactor is None or values is None else _redaction(redactor, values, job, is_equal),
        )
        self.target.append(stream_of_bundle(self.job_id), [manifest_event(manifest)], NO_STREAM)
        return manifest, {} if redactor is None else redactor.tokens

    def _beginning(self, stored: ModelSource, plan: Plan) -> Beginning | None:
        """Return the state that the bundle begins at; None: it holds everything."""
        if self.wish.from_ms is None and plan.is_complete:
            return None
        found = find_beginning(stored, plan)
        if found is None and not plan.is_complete:
            msg = (
                f"the records of job [{self.job_id}] up to version {plan.complete_from - 1} are no longer kept, nor is "
                "there a model state after them: there is nothing that a bundle could be replayed from"
            )
            raise CannotReplay(msg)
        return found

    # -------------------------------------------------------------------------------------------------- rewriting

    def _check_decrypts(self, is_encrypted: bool) -> None:
        if is_encrypted and not self.wish.decrypts:
            msg = (
                f"job [{self.job_id}] is erasable: a bundle would keep its records readable when its key is destroyed; "
                "`marigraph bundle create --decrypt` makes one all the same"
            )
            raise Conflict(msg)

    def _values(self, stored: ModelSource, job: Job, plan: Plan, on_records: OnRecords) -> Values:
        if not plan.is_complete:
            msg = (
                f"a redacted bundle is replayed from the first record, and those of job [{self.job_id}] up to version "
                f"{plan.complete_from - 1} are no longer kept"
            )
            raise CannotReplay(msg)
        values = Values(frozenset(self.wish.redact))
        for item in stored.events(job.created_version - 1, job.version):
            if item.payload_digest is not None:
                values.add(_batch(stored, item))
                on_records(item.event.record_count)
        also_in = values.also_in(_other_places(job))
        if also_in and not self.wish.allows_shared:
            places = ", ".join(f"[{each}]" for each in also_in)
            msg = (
                f"values of [{', '.join(self.wish.redact)}] also stand in {places}, which a bundle "
                "keeps: redact these fields too, or allow it with --allow-shared"
            )
            raise Conflict(msg)
        return values

    def _redactor(self, job: Job, values: Values) -> Redactor:
        kept = frozenset().union(*values.others.values())
        return Redactor(job.settings(), values.fields, draw_tokens(values.redacted), kept)

    def _rewritten(
        self, made: "_Copy", rewriter: Rewriter, writing: Connection, from_ms: int | None, on_records: OnRecords
    ) -> tuple[str | None, bool]:
        """Write another log, replaying it; return the state's digest, and whether results are those of the job."""
        with (
            TemporaryDirectory(prefix="marigraph-bundle-") as folder,
            results_file(Path(folder) / "results.db") as engine,
        ):
            sink = ResultSink(engine, self.job_id)
            digest = made.rewrite(rewriter, sink, on_records)
            with engine.connect() as replayed:
                return digest, digest_tables(replayed, self.job_id, from_ms) == digest_tables(
                    writing, self.job_id, from_ms
                )

    # --------------------------------------------------------------------------------------------------- results

    def _copy_results(
        self, view: Connection, writing: Connection, results_to: int, from_ms: int | None, rewriter: Rewriter | None
    ) -> None:
        for table in TABLES:
            for page in pages(stored_rows(view, table, self.job_id, from_ms), ROWS_PER_INSERT):
                writing.execute(insert(table), page if rewriter is None else [rewriter.row(row) for row in page])
        stats = view.execute(select(job_stats).where(job_stats.c.job_id == self.job_id)).mappings().all()
        if stats:
            writing.execute(insert(job_stats), [dict(row) for row in stats])
        if results_to:
            self.target.write_checkpoint(writing, subscriber_of(self.job_id), 0, results_to)


@dataclass(slots=True)
class _Copy:
    """Copies the events of a job, with the records that a replay needs."""

    stored: ModelSource
    job: Job
    plan: Plan
    beginning: Beginning | None
    writer: StreamWriter
    results_to: int
    record_count: int = 0
    states: dict[int, bytes] = field(default_factory=dict)

    @property
    def begins_at(self) -> int:
        """Version of the state that a replay begins at; 0: it begins with nothing."""
        return 0 if self.beginning is None else self.beginning.folded.version

    def copy(self, on_records: OnRecords) -> None:
        """Copy events and records as they are."""
        for event, item in self._events():
            payload = None
            if item.payload_digest is not None and self._is_needed(item):
                payload = self.stored.store.read_payload(self.stored.stream, item.payload_digest)
                self.record_count += item.event.record_count
                on_records(item.event.record_count)
            self.writer.add(event, payload)
        if self.beginning is not None:
            self._take_states({self.begins_at: self.beginning.folded.model, **self.beginning.targets})

    def rewrite(self, rewriter: Rewriter, sink: ResultSink, on_records: OnRecords) -> str | None:
        """Write other events and records, and replay them; return the digest of the state at ``results_to``."""
        # it is asked for no events and no records, only for states of its own to go back to
        source = ChangedSource(self.stored.store, self.stored.codec, self.stored.job_id)
        folded = ModelFold(source, self.job.created_version, None, self.job.created_version - 1)
        wanted = set() if self.beginning is None else {self.begins_at, *self.beginning.targets}
        digest = None
        for event, item in self._events():
            is_of_job = item.version >= self.job.created_version
            changes: dict[str, Any] = {}
            batch = payload = None
            if item.payload_digest is not None and is_of_job:
                batch = rewriter.batch(_batch(self.stored, item))
                encoded = encode_batch(batch)
                payload = Payload(encoded.body, encoded.codec, encoded.content_digest)
                changes["digest"] = encoded.content_digest.hex()
                on_records(item.event.record_count)
            elif item.event.type == "data_posted":
                changes["digest"] = None
            elif item.event.type == "snapshot_persisted":
                is_ours = item.event.state_schema == STATE_SCHEMA and item.event.version == folded.version
                changes["state_digest"] = (_digest(folded.model) or "") if is_ours else ""
            changed = rewriter.event(item.event, **changes)
            is_needed = payload is not None and self._is_needed(item)
            self.record_count += item.event.record_count if is_needed else 0
            self.writer.add(
                _with_data(event, changed, payload, keeps_context=rewriter.keeps_context),
                payload if is_needed else None,
            )
            if not is_of_job:
                continue
            outcome = folded.step(item._replace(event=changed), batch)
            if item.version <= self.results_to:
                sink.add(outcome)
            elif item.event.type == ResultsDropped.type:
                sink.add_unfolded([item.event])
            if item.version == self.results_to:
                sink.finish(folded.model)
                digest = _digest(folded.model)
            if item.version in self.plan.targets:
                source.keep(folded)
            if item.version in wanted:
                self._take_states({item.version: folded.model})
        sink.flush()
        return digest

    def _events(self) -> Iterator[tuple[StoredEvent, Item]]:
        """Yield the events of the job's log; Conflict where it is not intact: hashes of its own would hide that."""
        previous = GENESIS
        for event in self.stored.store.iter_stream(self.stored.stream, 0, self.job.version):
            if hash_stored(previous, event) != event.hash:
                msg = (
                    f"the log of job [{self.job.job_id}] is not intact at version {event.version}; "
                    f"`marigraph verify {self.job.job_id}` says more"
                )
                raise Conflict(msg)
            previous = event.hash
            yield event, recorded(self.stored.codec, event)

    def _is_needed(self, item: Item) -> bool:
        return item.version > self.begins_at and item.version >= self.job.created_version

    def _take_states(self, models: dict[int, Model | None]) -> None:
        for version, model in models.items():
            assert model is not None
            arrays, meta = model.state()
            self.states[version] = encode_state(arrays, {"config": store_config(model.config), "model": meta})

    def save_states(self, target: EventStore, writing: Connection) -> None:
        """Write the states that a replay needs."""
        for version, body in self.states.items():
            target.save_snapshot(self.stored.stream, version, STATE_SCHEMA, body, conn=writing)


def _batch(stored: ModelSource, item: Item) -> RecordBatch:
    """Read the records of an event."""
    batch = stored.unpacked(stored.read_payload(item))
    assert batch is not None
    return batch


def _with_data(event: StoredEvent, changed: Any, payload: Payload | None, *, keeps_context: bool) -> StoredEvent:
    """Return a stored event with other contents, and unless told otherwise without who, why and in which request."""
    new = new_event(changed)
    rewritten = event._replace(
        schema_version=new.schema_version,
        data=new.data.decode(),
        payload_digest=None if payload is None else payload.digest,
    )
    if keeps_context:
        return rewritten
    return rewritten._replace(actor=None, request_id=None, cause=None, command_id=None, command_index=None)


def _redaction(redactor: Redactor, values: Values, job: Job, is_equal: bool) -> Redaction:
    return Redaction(
        fields=sorted(redactor.fields),
        value_count=len(redactor.tokens),
        keeps_lengths=_keep_lengths(redactor.tokens),
        also_in=values.also_in(_other_places(job)),
        results_equal=is_equal,
    )


def _other_places(job: Job) -> dict[str, Iterable[str]]:
    """Return what else a redacted bundle shows that people wrote."""
    analysis = job.settings().analysis_config
    analyzer = analysis.categorization_analyzer
    return {
        "job_id": [job.job_id],
        "categorization_filters": list(analysis.categorization_filters or ()),
        "categorization_analyzer": [] if analyzer is None else [str(analyzer)],
    }


def _keep_lengths(tokens: dict[str, str]) -> bool:
    return all(len(value.encode("utf-8", "surrogatepass")) == len(token) for value, token in tokens.items())


def _end_of(model: Model | None) -> int | None:
    return None if model is None else model.last_finalized_bucket_end_ms


def _digest(model: Model | None) -> str | None:
    return None if model is None else model.digest().hex()
