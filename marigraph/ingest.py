"""Files into a job: each block becomes one durable event before the next is read, and none is stored twice.

A block's command id is made of the job's incarnation and of the file's bytes up to the block's end. The same command
with the same file, after a kill or a Ctrl-C, passes over what is stored and goes on behind it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.data_counts import DataCounts
from domain.job import Job
from marigraph.application import Application
from marigraph.context import Context
from marigraph.data_files import Block, read_blocks
from marigraph.handlers import find_posted, post_batches
from marigraph.writing import JobWriter

Advance = Callable[[int, int], None]
"""Called after each block with its bytes in the file and its records."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of the files."""

    counts: DataCounts
    """Of all blocks, those stored by earlier runs included."""
    n_skipped: int
    """Blocks that an earlier run had stored."""


def ingest(
    app: Application,
    writer: JobWriter,
    paths: Sequence[Path],
    context: Context,
    advance: Advance = lambda _n_bytes, _n_records: None,
) -> Ingested:
    """Post files to an open job.

    Raises
    ------
    ParseError
        A file cannot be read as records; what came before in it is stored.
    """
    config = writer.job.settings()
    counts = DataCounts()
    n_skipped = 0
    for path in paths:
        for block in read_blocks(path, config, app.now_ms()):
            if block.batch is None:
                continue
            command_id = command_id_of(writer.job, block)
            posted = find_posted(app, writer.job.job_id, command_id)
            if posted is None:
                posted = post_batches(writer, [block.batch], context, command_id)
            else:
                n_skipped += 1
            counts = counts + posted
            advance(block.n_bytes, posted.input_record_count)
    return Ingested(counts, n_skipped)


def command_id_of(job: Job, block: Block) -> str:
    """Name the append of a block: the same block of the same file, for the same job, has the same name."""
    text = f"{job.job_id}\0{job.created_version}\0{block.digest}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
