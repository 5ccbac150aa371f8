"""The endpoint that explains a record: how it came by its probability and its score, from the log alone."""

from typing import TYPE_CHECKING, Any, Final

from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.parameters import Parameter
from marigraph.api.results import time_of

if TYPE_CHECKING:
    from marigraph.explain import RecordChoice

CHOICE: Final = (
    Parameter("rank", "int", place="query", description="Which of them, as get_records lists them, from 1."),
    Parameter("timestamp", place="query", description="Only of the bucket that starts here."),
    Parameter("detector_index", "int", place="query", description="Only of this detector."),
    Parameter("function", place="query", description="Only of this function."),
    Parameter("partition", place="query", description="Only with this value of the partition field."),
    Parameter("by", place="query", description="Only with this value of the by field."),
    Parameter("over", place="query", description="Only with this value of the over field."),
)


def choice_of(call: Call) -> "RecordChoice":
    """Return which record is asked for."""
    from marigraph.explain import RecordChoice  # loads with the model, only when asked for

    parameters = call.parameters
    return RecordChoice(
        rank=parameters.get("rank"),
        timestamp_ms=time_of(call, "timestamp"),
        detector_index=parameters.get("detector_index"),
        function=parameters.get("function"),
        partition=parameters.get("partition"),
        by=parameters.get("by"),
        over=parameters.get("over"),
    )


def _explain(call: Call) -> Any:
    from marigraph.explain import explain_record  # loads with the model, only when asked for

    return explain_record(call.app, call.path["job_id"], choice_of(call), call.on_event).resource()


ENDPOINTS: Final = (
    Endpoint(
        "explain_record",
        ("GET",),
        ("/_marigraph/explain/{job_id}",),
        _explain,
        "Why a record got its probability and its score, part by part; the highest score unless told otherwise.",
        CHOICE,
        lane=Lane.REPLAY,
        is_absolute=True,
    ),
)
