"""Erases jobs: one event, and then the end of the key, in one transaction with the results that go with it.

What may be erased is decided in ``domain/erasure.py``; keys are ``eventstore/keys.py``.
"""

from typing import Any

from sqlalchemy import literal, select

from domain.commands import EraseJob
from domain.erasure import is_erasable
from domain.job import ABSENT, Job
from eventstore import EventStore
from eventstore.keys import Keys
from eventstore.tables import payloads, streams
from marigraph.application import Application
from marigraph.codec import JOB_PREFIX, recorded, stream_of
from marigraph.context import Context
from marigraph.results import clear_results
from marigraph.schema import ERASURE_REVISION, check_finished
from marigraph.tables import jobs
from marigraph.writing import carry_out


def erase_job(app: Application, job_id: str, context: Context, *, keep_results: bool = False) -> dict[str, Any]:
    """Make the records and model states of a closed job unreadable for good; its history stays, and verifies.

    Parameters
    ----------
    keep_results : bool
        Keep buckets, records and influencers, which name values of the records; categories, which quote them, go.

    Raises
    ------
    NotFound, Conflict
        There is no such job, it is not erasable, or it is not closed.
    """
    writer = app.visitor(job_id)
    writer.job.settings()
    check_finished(app.store, ERASURE_REVISION)
    events = carry_out(writer, lambda _job: EraseJob(keep_results), context)
    app.release(job_id, is_gone=True)
    finish_erasure(app, writer.job)
    app.project()
    return {"acknowledged": True, "erased": bool(events), "version": writer.job.erased_version}


def remove_job(store: EventStore, job: Job, version: int) -> None:
    """Remove everything but the history of a job that was deleted at a version of its stream; its key too."""
    stream = stream_of(job.job_id)
    leaves_no_trace = is_erasable(job.settings().custom_settings)
    with store.erasing() if leaves_no_trace else store.transaction() as connection:
        clear_results(store, connection, job.job_id, version)
        Keys.destroy(connection, stream, job.created_version)
    store.delete_snapshots(stream)
    store.delete_payloads(stream)


def finish_erasure(app: Application, job: Job) -> None:
    """Carry out what ``erased`` says of a job; harmless if it was carried out before."""
    stream = stream_of(job.job_id)
    stored = app.store.read_stream(stream, job.erased_version - 1, 1)[0]
    keeps_results = recorded(app.codec, stored).event.keeps_results
    with app.store.erasing() as connection:
        clear_results(app.store, connection, job.job_id, job.erased_version, keeps_results=keeps_results)
        Keys.destroy(connection, stream, job.created_version)
    app.store.delete_snapshots(stream)


def finish_erasures(app: Application) -> None:
    """Destroy the keys that should be gone: whoever wrote the event may have died before."""
    for stream, since_version in app.store.keys.lives():
        job = app.jobs.load(stream.removeprefix(JOB_PREFIX))
        if job.exists and job.created_version == since_version:
            if job.erased_version:
                finish_erasure(app, job)
        else:
            destroy_key(app.store, stream, since_version)


def finish_deletions(app: Application) -> None:
    """Remove what is left of jobs that were deleted: whoever wrote the event may have died before."""
    of_job = select(payloads.c.stream_id).join(streams, streams.c.id == payloads.c.stream_id)
    is_left = of_job.where(streams.c.name == literal(JOB_PREFIX) + jobs.c.job_id).exists()
    with app.store.reading() as connection:
        job_ids = list(connection.scalars(select(jobs.c.job_id).where(jobs.c.state == ABSENT, is_left)))
    for job_id in job_ids:
        stream = stream_of(job_id)
        with app.store.transaction() as connection:
            clear_results(app.store, connection, job_id, app.jobs.load(job_id).version)
        app.store.delete_snapshots(stream)
        app.store.delete_payloads(stream)


def destroy_key(store: EventStore, stream: str, since_version: int) -> None:
    """Delete a key and what is left of it."""
    with store.erasing() as connection:
        Keys.destroy(connection, stream, since_version)
