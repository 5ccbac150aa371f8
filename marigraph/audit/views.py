"""The views of the audit, as they are queried here; docs/audit.md tells people what each column means.

They are made by the migrations and belong to neither metadata of tables: nothing here creates them.
"""

from sqlalchemy import TableClause, column, table


def _view(name: str, columns: str) -> TableClause:
    return table(name, *(column(each) for each in columns.split()))


_HEAD = "version position recorded_at recorded_at_us actor request_id stream_id"

HISTORY = _view(
    "audit_job_history",
    f"job_id {_HEAD} type schema_version cause command_id command_index data payload_digest hash",
)
SESSIONS = _view(
    "audit_job_sessions",
    "job_id opened_version opened_at opened_at_us opened_by opened_request_id ended_version ended_at ended_at_us"
    " ended_by ended_request_id ending failure_reason duration_seconds post_count record_count flush_count"
    " out_of_order_timestamp_count invalid_date_count opened_position stream_id",
)
POSTS = _view(
    "audit_data_posted",
    f"job_id {_HEAD} command_id record_count processed_record_count out_of_order_timestamp_count invalid_date_count"
    " missing_field_count input_bytes earliest_record_ms earliest_record_at latest_record_ms latest_record_at"
    " reset_start_ms reset_end_ms content_digest payload_digest payload_bytes",
)
SNAPSHOTS = _view(
    "audit_snapshots",
    f"job_id {_HEAD} snapshot_id description first_version last_version state_schema state_digest latest_record_ms"
    " latest_record_at latest_result_ms latest_result_at model_bytes state_bytes retain removed_version",
)
SEARCHES = _view(
    "audit_datafeed_searches",
    f"datafeed_id {_HEAD} job_id cause start_ms start_at end_ms end_at earliest_record_ms earliest_record_at"
    " latest_record_ms latest_record_at record_count document_count missing_count took_ms",
)
ACCESS = _view("audit_access", f"{_HEAD} type key_id name roles expires_ms expires_at")

VIEWS = (HISTORY, SESSIONS, POSTS, SNAPSHOTS, SEARCHES, ACCESS)
