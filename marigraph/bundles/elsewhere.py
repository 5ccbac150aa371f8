"""A what-if on another engine: another installation of Marigraph replays a bundle of the job, and hands back a run.

All that both have to agree on is the form of a bundle, the command ``bundle replay FILE --results FILE`` with ``--set``
and its exit codes 0 and 1, and the form of a run's file (``marigraph/whatif/runs.py``). Both forms have a number.
"""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from domain.errors import InvalidArgument
from marigraph.application import Application
from marigraph.bundles.creating import create_bundle
from marigraph.whatif.changes import Changes
from marigraph.whatif.runs import Run, read_run

REPLAYED: Final = (0, 1)
"""Exit codes of a replay: equal, and not equal, which is what is asked here."""
OWN_VARIABLES: Final = ("MARIGRAPH_", "PYTHON")
"""Beginnings of the names of variables that would bring our database or our packages into the other installation."""


def run_elsewhere(app: Application, job_id: str, changes: Changes, path: Path, python: str) -> Run:
    """Have another installation replay a job under changes, and put the results into a file.

    Parameters
    ----------
    python : str
        The interpreter of the other installation.

    Raises
    ------
    InvalidArgument
        There is no such program, or it has no Marigraph that can do this.
    """
    program = shutil.which(python)
    if program is None:
        msg = f"there is no program [{python}]: name the Python interpreter of another installation of Marigraph"
        raise InvalidArgument(msg)
    with TemporaryDirectory(prefix="marigraph-bundle-") as folder:
        bundle = Path(folder) / "job.bundle.db"
        create_bundle(app, job_id, bundle)
        settings = [part for setting in changes.settings for part in ("--set", str(setting))]
        done = subprocess.run(
            # absolute, for the directory is another: a checkout here would be taken for the other installation
            [Path(program).absolute(), "-m", "marigraph", "bundle", "replay", bundle, "--results", path, *settings],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    if done.returncode not in REPLAYED or not path.exists():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else f"exit code {done.returncode}"
        msg = f"[{python}] has no Marigraph that can replay this: {why}"
        raise InvalidArgument(msg)
    return read_run(path)
