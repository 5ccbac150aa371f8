"""Marigraph without a server: the operations of the API on a database in this process."""

import getpass
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marigraph.api.endpoints import Call
from marigraph.api.parameters import read_parameters
from marigraph.application import Application
from marigraph.bootstrap import bootstrap
from marigraph.context import Context
from marigraph.handlers import data_writer
from marigraph.ingest import ingest
from marigraph.operations import (
    Advance,
    OnEvent,
    Operations,
    Posted,
    Resource,
    as_text,
    endpoint_named,
    path_of,
    place,
)
from marigraph.settings import Settings


class Marigraph(Operations):
    """Anomaly-detection jobs on a database; use it from one thread.

    Parameters
    ----------
    database : str or Path, optional
        A file or a URL; else ``MARIGRAPH_DB``, else a file in the user's data directory.
    actor : str, optional
        Who is on the events; the user of the process unless told otherwise.

    Raises
    ------
    SchemaError
        The database has another schema than this program and is not ours to change.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Marigraph(f"{folder}/demo.db") as ml:
    ...     detector = {"function": "count"}
    ...     job = ml.put_job("j", analysis_config={"bucket_span": "1h", "detectors": [detector]}, data_description={})
    ...     answer = ml.open_job("j")
    ...     ml.post_data("j", [{"time": 1_700_006_400_000}])["processed_record_count"]
    1
    """

    def __init__(self, database: str | Path | None = None, *, actor: str | None = None) -> None:
        settings = Settings.read(database=None if database is None else str(database))
        self._app = bootstrap(settings)
        self._actor = actor or user_name()
        self._context: Context | None = None

    @classmethod
    def over(cls, app: Application, context: Context) -> "Marigraph":
        """Put the operations over an application, all of them part of one request."""
        made = cls.__new__(cls)
        made._app, made._actor, made._context = app, context.actor or user_name(), context
        return made

    @property
    def application(self) -> Application:
        """What carries the operations out."""
        return self._app

    def perform(
        self,
        name: str,
        path: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        data: bytes = b"",
        every: bool = False,
        on_event: OnEvent = lambda: None,
    ) -> Any:
        """Carry out an operation of the table; see ``Operations.perform``."""
        endpoint = endpoint_named(name)
        shown = path_of(endpoint, path or {})
        query, fields = place(endpoint, parameters or {})
        found = read_parameters(endpoint.parameters, path=shown, query=query, body=fields, section=endpoint.section)
        values = {each: as_text(value) for each, value in (path or {}).items() if value is not None}
        call = Call(self._app, self._request(), values, found, body, data, every=every, on_event=on_event)
        return endpoint.answer(call)

    def every(self, name: str, path: Mapping[str, Any], parameters: Mapping[str, Any]) -> Resource:
        """Return the whole of a list; see ``Operations.every``."""
        answer: Resource = self.perform(name, path, parameters, every=True)
        return answer

    def post_files(self, job_id: str, paths: Sequence[Path], advance: Advance) -> Posted:
        """Post files; see ``Operations.post_files``."""
        context = self._request()
        done = ingest(self._app, data_writer(self._app, job_id, context), paths, context, advance)
        self._app.project()
        return Posted(done.counts.resource(job_id), done.n_skipped)

    def explain_record(self, job_id: str, on_event: OnEvent = lambda: None, **choice: Any) -> Resource:
        """Explain a record; see ``Operations.explain_record``."""
        answer: Resource = self.perform("explain_record", {"job_id": job_id}, choice, on_event=on_event)
        return answer

    def close(self) -> None:
        """Let go of all jobs, none of which is closed by that, and of the database."""
        self._app.close()

    def _request(self) -> Context:
        return self._context or Context(self._actor, str(uuid.uuid4()))


def user_name() -> str:
    """Return the user of the process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
