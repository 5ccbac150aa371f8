"""Replays a bundle and says whether it gives what it says: digests of the model's state and of all result tables."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import InvalidArgument
from marigraph import __version__
from marigraph.application import Application
from marigraph.bundles.manifest import BundleError, Manifest, versions_here
from marigraph.bundles.opening import opened_bundle
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelSource
from marigraph.whatif.changes import Changes
from marigraph.whatif.runs import Run
from marigraph.whatif.trial import run_trial

NO_CHANGES: Final = Changes()

FOREIGN: Final = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, ArithmeticError),
    *(MemoryError, RecursionError, struct.error, msgspec.MsgspecError, SQLAlchemyError),
)
"""What events and states that nobody here wrote may end a replay with."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay of a bundle, beside what the bundle says.

    Attributes
    ----------
    is_compared : bool
        Whether the replay can be compared: the settings were those of the job, from the same beginning.
    tables : dict of str to bool
        Whether the rows are equal, by table.
    is_state_equal : bool or None
        None: the state is of another engine's form.
    differing_versions : dict of str to (str, str)
        Packages of other versions: there and here.
    """

    manifest: Manifest
    run: Run
    is_compared: bool
    tables: dict[str, bool]
    is_state_equal: bool | None
    differing_versions: dict[str, tuple[str, str]]

    @property
    def is_equal(self) -> bool:
        """Whether everything that can be compared is equal."""
        return self.is_compared and all(self.tables.values()) and self.is_state_equal is not False

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        run = self.run
        return {
            "job_id": run.job_id,
            "equal": self.is_equal if self.is_compared else None,
            "tables": {
                name: {
                    "equal": self.tables.get(name),
                    **{side: msgspec.to_builtins(digests.get(name)) for side, digests in self._sides()},
                }
                for name in sorted({*self.manifest.recorded.tables, *run.results})
            },
            "state": {
                "equal": self.is_state_equal,
                "recorded": self.manifest.recorded.state_digest,
                "replayed": run.state_digest,
                "recorded_schema": self.manifest.recorded.state_schema,
                "replayed_schema": run.state_schema,
            },
            "differing_versions": {
                name: {"recorded": there, "here": here} for name, (there, here) in self.differing_versions.items()
            },
            "run": msgspec.to_builtins(run),
            "manifest": msgspec.to_builtins(self.manifest),
        }

    def _sides(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        return ("recorded", self.manifest.recorded.tables), ("replayed", self.run.results)


def replay_bundle(
    path: Path,
    changes: Changes = NO_CHANGES,
    results: Path | None = None,
    on_records: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Replay a bundle.

    Parameters
    ----------
    changes : Changes
        What is to be different, as in a what-if.
    results : Path or None
        A file to keep the results in; there must be none.

    Raises
    ------
    BundleError
        The file is no intact bundle, or its events cannot be replayed.
    CannotReplay
        It begins at a state that this program's engine cannot read.
    """
    if results is not None and results.exists():
        msg = f"the file {results} exists already; name another"
        raise InvalidArgument(msg)
    with opened_bundle(path) as (manifest, app, _size), TemporaryDirectory(prefix="marigraph-bundle-") as folder:
        try:
            if manifest.begins_at_version and not changes:
                _check_beginning(manifest, app)
            run = run_trial(
                app, manifest.job_id, changes, results or Path(folder) / "results.db", on_records=on_records
            )
        except FOREIGN as error:
            msg = f"the bundle cannot be replayed: {type(error).__name__}: {error}"
            raise BundleError(msg) from error
    return _beside(manifest, run, changes)


def _check_beginning(manifest: Manifest, app: Application) -> None:
    """Refuse if the state that a bundle begins at is of no use here."""
    recorded, version = manifest.recorded, manifest.begins_at_version
    if recorded.state_schema != STATE_SCHEMA:
        msg = (
            f"the bundle begins at a model state of {recorded.state_schema}, which this program ({STATE_SCHEMA}) "
            "cannot go on from; only a bundle of all records can be replayed by another engine"
        )
        raise CannotReplay(msg)
    if ModelSource(app.store, app.codec, manifest.job_id).exact(version) is None:
        msg = f"the bundle's model state of version {version}, which it begins at, is missing or damaged"
        raise BundleError(msg)


def _beside(manifest: Manifest, run: Run, changes: Changes) -> Replayed:
    recorded, here = manifest.recorded, {"marigraph": __version__, **versions_here()}
    there = {"marigraph": manifest.marigraph_version, **manifest.versions}
    differing = {name: (there.get(name, "-"), here[name]) for name in here if there.get(name) != here[name]}
    if run.state_schema != recorded.state_schema:
        differing["engine"] = (recorded.state_schema, run.state_schema)
    is_compared = not changes and run.compared_from_ms == manifest.from_ms
    state = None
    if is_compared and recorded.state_schema == run.state_schema:
        state = recorded.state_digest == run.state_digest
    tables = {name: run.results.get(name) == digest for name, digest in recorded.tables.items()} if is_compared else {}
    return Replayed(manifest, run, is_compared, tables, state, differing)
