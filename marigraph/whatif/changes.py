"""What is to be different in a what-if: settings by their paths into a job's configuration, checked by the API's rules.

A path names what the API calls it: ``analysis_config.bucket_span``, ``analysis_config.detectors[0].function``. A change
is laid over every configuration that the job ever had, so that updates on the way keep what is not changed.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from domain.config import JobConfig, create_job_config
from domain.config.detector import describe
from domain.errors import InvalidArgument, ParseError
from domain.model import check_supported

PARTS: Final = ("analysis_config", "analysis_limits", "model_plot_config", "renormalization_window_days")
"""What of a configuration reaches the analysis."""
DEPTH_MAX: Final = 20
INDEX_MAX: Final = 10_000

Key = str | int
Path = tuple[Key, ...]

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,5})\]")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value to be put at a path; None takes away what is there."""

    path: Path
    value: Any

    def __str__(self) -> str:
        return f"{_shown(self.path)}={msgspec.json.encode(self.value).decode()}"


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that is to be different, in the order in which it is laid over a configuration."""

    settings: tuple[Setting, ...] = ()

    @classmethod
    def read(cls, texts: Sequence[str] = (), body: Any = None) -> "Changes":
        """Read changes.

        Parameters
        ----------
        texts : sequence of str
            ``PATH=VALUE`` each; a value is JSON where it reads as such, else a text.
        body : object
            A job's configuration as JSON, or None; those of its parts that reach the analysis replace the job's.

        Raises
        ------
        InvalidArgument, ParseError
            The first that is wrong.
        """
        if body is not None and not (isinstance(body, dict) and any(name in body for name in PARTS)):
            msg = f"a changed configuration is a JSON object with one of {', '.join(PARTS)}"
            raise InvalidArgument(msg)
        whole = [Setting((name,), body[name]) for name in PARTS if body is not None and name in body]
        return cls((*whole, *(_read_setting(text) for text in texts)))

    def __bool__(self) -> bool:
        return bool(self.settings)

    def applied(self, config: JobConfig) -> JobConfig:
        """Return a configuration with the changes; itself, if there are none.

        Raises
        ------
        DomainError
            The changed configuration breaks a rule of the API, whose message it is.
        """
        if not self.settings:
            return config
        body = _body(config)
        for setting in self.settings:
            _put(body, setting)
        changed = create_job_config(body, job_id=config.job_id, now_ms=config.create_time)
        check_supported(changed)
        return config.model_copy(update={name: getattr(changed, name) for name in PARTS})


def analysis_of(config: JobConfig) -> dict[str, Any]:
    """Return what of a configuration reaches the analysis, as the API shows it."""
    resource = config.resource()
    return {name: resource[name] for name in PARTS if name in resource}


def goes_on(before: JobConfig, after: JobConfig) -> bool:
    """Tell whether a model made under one configuration can go on under another, as after an update."""
    return bool(_skeleton(before) == _skeleton(after))


def _skeleton(config: JobConfig) -> Any:
    """Return what of a configuration no update can change."""
    analysis = config.analysis_config
    partitioned = analysis.categorization_partition_field_name
    detectors = [
        each.model_copy(update={"custom_rules": (), "detector_description": ""}) for each in analysis.detectors
    ]
    free = {"categorization_filters": None, "per_partition_categorization": None, "bucket_span": "", "latency": None}
    seconds = (analysis.bucket_span_seconds, analysis.latency_seconds)
    return analysis.model_copy(update={**free, "detectors": tuple(detectors)}), seconds, partitioned


def _body(config: JobConfig) -> dict[str, Any]:
    """Return the body of a request that would make this analysis."""
    body = {**analysis_of(config), "data_description": config.data_description.resource()}
    for shown, detector in zip(body["analysis_config"]["detectors"], config.detectors, strict=True):
        if detector.detector_description == describe(detector):
            del shown["detector_description"]  # it follows the detector
    return body


# ------------------------------------------------------------------------------------------------------- settings


def _read_setting(text: str) -> Setting:
    name, equals, value = text.partition("=")
    path = _read_path(name.strip())
    if not equals or path is None:
        msg = f"expected PATH=VALUE, such as analysis_config.bucket_span=5m, got [{text[:200]}]"
        raise InvalidArgument(msg)
    if path[0] == "data_description":
        msg = (
            f"[{_shown(path)}] cannot be changed: it says how posted data are read, and what the log holds are records "
            "that have been read"
        )
        raise InvalidArgument(msg)
    if path[0] not in PARTS:
        msg = f"[{_shown(path)}] does not reach the analysis: expected something in {', '.join(PARTS)}"
        raise InvalidArgument(msg)
    return Setting(path, _read_value(path, value.strip()))


def _read_value(path: Path, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text[:1] in ("{", "["):  # meant as JSON
            msg = f"the value of [{_shown(path)}] is no JSON: {error}"
            raise ParseError(msg) from error
        return text


def _read_path(text: str) -> Path | None:
    """Return the steps of a path; None if it is none."""
    steps: list[Key] = []
    place = 0
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None or len(steps) == DEPTH_MAX:
            return None
        name, index = step.groups()
        steps.append(int(index) if index is not None else int(name) if steps and name.isdecimal() else name)
        place = step.end()
    return tuple(steps) if steps and isinstance(steps[0], str) else None


def _shown(path: Path) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _put(body: dict[str, Any], setting: Setting) -> None:
    """Put a value at its path, making objects on the way."""
    inner: Any = body
    for depth, key in enumerate(setting.path[:-1]):
        here = setting.path[: depth + 1]
        _check_holds(inner, key, here)
        if isinstance(inner, list):
            if key == len(inner):
                inner.append({})
            inner = inner[int(key)]
        else:
            inner = inner.setdefault(key, {})
    last = setting.path[-1]
    _check_holds(inner, last, setting.path)
    value = copy.deepcopy(setting.value)
    if isinstance(inner, dict):
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = value
    elif value is None:
        del inner[int(last) : int(last) + 1]
    elif last == len(inner):
        inner.append(value)
    else:
        inner[int(last)] = value


def _check_holds(inner: Any, key: Key, path: Path) -> None:
    """Refuse a step into what has no such place."""
    if isinstance(inner, dict) and isinstance(key, str):
        return
    if isinstance(inner, list) and isinstance(key, int):
        if key <= len(inner):
            return
        msg = f"[{_shown(path)}] is not there: [{_shown(path[:-1])}] has {len(inner)} entries"
        raise InvalidArgument(msg)
    held = "a list" if isinstance(inner, list) else "an object" if isinstance(inner, dict) else "a plain value"
    msg = f"[{_shown(path)}] is not there: [{_shown(path[:-1])}] is {held}"
    raise InvalidArgument(msg)
