"""Normal use of a database, in steps that a seed chooses: what people do with jobs, datafeeds, keys and users."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from domain.errors import DomainError
from eventstore.signing import SigningKey
from marigraph import Marigraph
from marigraph.access import AccessControl
from marigraph.context import Context
from marigraph.credentials import ScryptCost
from marigraph.erasing import erase_job
from marigraph.proof.sealing import seal_database
from marigraph.retention import run_retention

ROOT = Context("root", "request-1")
CHEAP = ScryptCost(16, 1, 1)
START_MS = 1_700_006_400_000
DROPS = {"custom_settings": {"retention": {"payloads": "behind_snapshots"}}}
KEPT = {
    "b": {**DROPS, "model_snapshot_retention_days": 0, "results_retention_days": 0},
    "c": {"custom_settings": {"erasable": True}},
}
"""Job b keeps little, the records of job c can be erased."""


class Life:
    """A database that is in use; each step is a command or a refusal, as chance will."""

    def __init__(self, url: str, key: SigningKey, seed: int, export: Path | None = None) -> None:
        self.ml = Marigraph(url, actor="tester")
        self.store = self.ml.application.store
        self._key = key
        self._export = export
        self._chance = random.Random(seed)
        self._control = AccessControl(self.store, lambda: START_MS, CHEAP)
        self._time_ms = START_MS
        self._steps: list[Callable[[], object]] = [
            self._put, self._open, self._post, self._post, self._post_again, self._flush, self._close, self._update,
            self._revert, self._delete, self._feed, self._create_key, self._revoke_key, self._user, self._seal,
            self._retain, self._erase,
        ]  # fmt: skip
        self._last_post: bytes = b""

    def step(self) -> str:
        """Do one thing; return what."""
        step = self._chance.choice(self._steps)
        try:
            step()
        except DomainError:
            return f"{step.__name__} refused"
        return step.__name__

    def begin(self) -> None:
        """Do once what every database has."""
        for job_id in ("a", "b", "c"):
            self._put(job_id)
            self.ml.open_job(job_id)
            self._post(job_id)
        self._create_key()

    def seal(self) -> None:
        """Seal everything."""
        seal_database(self.store, self._key, export=self._export, events_max=self._chance.choice([5, 20, 10_000]))

    def close(self) -> None:
        self.ml.close()

    # --------------------------------------------------------------------------------------------------------- steps

    def _job(self) -> str:
        return self._chance.choice(["a", "b", "c"])

    def _put(self, job_id: str | None = None) -> None:
        job_id = job_id or self._job()
        detectors = [{"function": "mean", "field_name": "v", "by_field_name": "who"}]
        analysis = {"bucket_span": "1h", "detectors": detectors}
        description = {"time_format": "epoch_ms"}
        self.ml.put_job(job_id, analysis_config=analysis, data_description=description, **KEPT.get(job_id, {}))

    def _open(self) -> None:
        self.ml.open_job(self._job())

    def _post(self, job_id: str | None = None) -> None:
        rows = []
        for number in range(self._chance.randrange(1, 30)):
            self._time_ms += self._chance.randrange(1, 600_000)
            rows.append({"time": self._time_ms, "who": f"h{number % 3}", "v": self._chance.randrange(100)})
        self._last_post = "\n".join(json.dumps(row) for row in rows).encode()
        self.ml.post_data(job_id or self._job(), self._last_post)

    def _post_again(self) -> None:
        """Post equal records once more, to any job."""
        if self._last_post:
            self.ml.post_data(self._job(), self._last_post)

    def _flush(self) -> None:
        self.ml.flush_job(self._job(), calc_interim=self._chance.random() < 0.5)

    def _close(self) -> None:
        self.ml.close_job(self._job(), force=self._chance.random() < 0.3)

    def _update(self) -> None:
        self.ml.update_job(self._job(), description=f"number {self._chance.randrange(1000)}")

    def _revert(self) -> None:
        job_id = self._job()
        found = self.ml.get_model_snapshots(job_id)["model_snapshots"]
        if found:
            self.ml.revert_model_snapshot(job_id, self._chance.choice(found)["snapshot_id"])

    def _delete(self) -> None:
        self.ml.delete_job(self._job(), force=True)

    def _feed(self) -> None:
        job_id = self._job()
        if self._chance.random() < 0.5:
            self.ml.put_datafeed(f"feed-{job_id}", job_id=job_id, indices=["air"])
        else:
            self.ml.delete_datafeed(f"feed-{job_id}")

    def _create_key(self) -> None:
        self._control.create_key("key", ("auditor",), ROOT)

    def _revoke_key(self) -> None:
        keys = [key for key in self._control.access.keys.values() if key.revoked_ms is None]
        if keys:
            self._control.revoke_key(self._chance.choice(keys).key_id, ROOT)

    def _user(self) -> None:
        action = self._chance.choice(["create_user", "change_password", "delete_user"])
        arguments = {"create_user": ("ann", "a long password", ("auditor",)), "change_password": ("ann", "another one")}
        getattr(self._control, action)(*arguments.get(action, ("ann",)), ROOT)

    def _retain(self) -> None:
        run_retention(self.ml.application, None, ROOT)

    def _erase(self) -> None:
        erase_job(self.ml.application, "c", ROOT)

    def _seal(self) -> None:
        self.seal()
