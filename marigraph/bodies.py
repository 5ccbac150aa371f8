"""Bodies of requests that are not configurations: checked by pydantic, refused with the API's words."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from domain.errors import UnknownField


class SnapshotUpdate(BaseModel):
    """The body of an update of a model snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    description: str | None = None
    retain: bool | None = None
    job_id: str | None = None
    """A repetition of the URL's, like the next; ignored."""
    snapshot_id: str | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "SnapshotUpdate":
        """Check a body; UnknownField names the first field that is wrong."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"]) or "body"
            what = "unknown field" if first["type"] == "extra_forbidden" else "failed to parse field"
            msg = f"[1:2] [model_snapshot_update] {what} [{name}]"
            raise UnknownField(msg) from error
