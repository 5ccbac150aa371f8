"""Jobs as resources, through HTTP: sections 2.1 to 2.3 and 2.8 to 2.11 of the contract, names, lists, bodies whole."""

import json
import re
import time

import pytest

from tests.support.http import CONFIG, FIRST

STATUS, ILLEGAL, PARSE = "status_exception", "illegal_argument_exception", "parse_exception"
MISSING, EXISTS, CONTENT = (
    "resource_not_found_exception", "resource_already_exists_exception", "x_content_parse_exception"
)  # fmt: skip
ALPHABET = "lowercase alphanumeric (a-z and 0-9), hyphens or underscores; must start and end with alphanumeric"


def ids(answer):
    return [job["job_id"] for job in answer.ok()["jobs"]]


def text(value):
    """A body as text: the order of its fields counts."""
    return json.dumps(value)


# ---------------------------------------------------------------------------------------------------------- create


def test_a_created_job_is_answered_whole_with_its_defaults(http):
    before = time.time_ns() // 1_000_000
    answer = http.put("create-defaults", {
        "analysis_config": {"detectors": [{"function": "mean", "field_name": "v", "by_field_name": "a b"}]},
        "data_description": {},
    }).ok()  # fmt: skip
    assert before <= answer["create_time"] <= time.time_ns() // 1_000_000
    assert text(answer) == text({
        "job_id": "create-defaults",
        "job_type": "anomaly_detector",
        "job_version": "7.9.0",
        "create_time": answer["create_time"],
        "analysis_config": {
            "bucket_span": "5m",
            "detectors": [{
                "detector_description": 'mean(v) by "a b"',
                "function": "mean", "field_name": "v", "by_field_name": "a b", "detector_index": 0,
            }],
            "influencers": [],
        },
        "analysis_limits": {"model_memory_limit": "1024mb", "categorization_examples_limit": 4},
        "data_description": {"time_field": "time", "time_format": "epoch_ms"},
        "model_snapshot_retention_days": 10,
        "daily_model_snapshot_retention_after_days": 1,
        "results_index_name": "shared",
        "allow_lazy_open": False,
    })  # fmt: skip
    assert text(http.get("create-defaults").ok()) == text({"count": 1, "jobs": [answer]})


def test_a_created_job_is_answered_with_all_that_was_set_in_the_order_of_the_contract(http):
    rule = {"actions": ["skip_result"], "conditions": [{"applies_to": "actual", "operator": "lt", "value": 10.0}]}
    body = {
        "job_id": "create-full",
        "groups": ["g-1", "g-2"],
        "description": "d",
        "analysis_config": {
            "bucket_span": "300S",
            "latency": "2m",
            "summary_count_field_name": "n",
            "detectors": [{
                "function": "low_nzc", "by_field_name": "b", "partition_field_name": "p", "use_null": True,
                "exclude_frequent": "all", "custom_rules": [rule], "detector_index": 7,
            }],
            "influencers": ["b"],
            "multivariate_by_fields": True,
        },
        "analysis_limits": {"model_memory_limit": "3g", "categorization_examples_limit": 7},
        "data_description": {"format": "xcontent", "time_field": "t", "time_format": "yyyy-MM-dd HH:mm:ssX"},
        "model_plot_config": {"enabled": True, "terms": "x"},
        "renormalization_window_days": 9,
        "background_persist_interval": "2h",
        "model_snapshot_retention_days": 30,
        "daily_model_snapshot_retention_after_days": 7,
        "results_retention_days": 40,
        "custom_settings": {"z": [1, {"a": None}], "b": "x"},
        "results_index_name": "mine",
        "allow_lazy_open": True,
    }  # fmt: skip
    answer = http.put("create-full", body).ok()
    assert text(answer) == text({
        "job_id": "create-full",
        "job_type": "anomaly_detector",
        "job_version": "7.9.0",
        "groups": ["g-1", "g-2"],
        "description": "d",
        "create_time": answer["create_time"],
        "analysis_config": {
            "bucket_span": "300S",
            "latency": "2m",
            "summary_count_field_name": "n",
            "detectors": [{
                "detector_description": "low_non_zero_count by b usenull=true partitionfield=p excludefrequent=all",
                "function": "low_non_zero_count", "by_field_name": "b", "partition_field_name": "p",
                "use_null": True, "exclude_frequent": "all", "custom_rules": [rule], "detector_index": 0,
            }],
            "influencers": ["b"],
            "multivariate_by_fields": True,
        },
        "analysis_limits": {"model_memory_limit": "3072mb", "categorization_examples_limit": 7},
        "data_description": {"time_field": "t", "time_format": "yyyy-MM-dd HH:mm:ssX"},
        "model_plot_config": {"enabled": True, "terms": "x", "annotations_enabled": True},
        "renormalization_window_days": 9,
        "background_persist_interval": "2h",
        "model_snapshot_retention_days": 30,
        "daily_model_snapshot_retention_after_days": 7,
        "results_retention_days": 40,
        "custom_settings": {"z": [1, {"a": None}], "b": "x"},
        "results_index_name": "custom-mine",
        "allow_lazy_open": True,
    })  # fmt: skip


def test_delimited_data_are_deprecated_and_said_so(http):
    answer = http.put("create-csv", {**CONFIG, "data_description": {"format": "delimited", "field_delimiter": ";"}})
    assert answer.ok()["data_description"] == {
        "format": "delimited", "time_field": "time", "time_format": "epoch_ms", "field_delimiter": ";"
    }  # fmt: skip
    words = "Creating jobs with delimited data format is deprecated. Please use xcontent instead."
    assert re.fullmatch(rf'299 Elasticsearch-\d+\.\d+\.\d+-unknown "{words}"', answer.headers["Warning"])
    assert "Warning" not in http.put("create-no-csv", CONFIG).headers


IDS_REFUSED = ["A", "_all", "a-", "-a", ".a", "a.", "_a", "a_", "a b", "a*", "a,b", "ä", "a$", "a%22", "a'b"]


@pytest.mark.parametrize("job_id", IDS_REFUSED)
def test_ids_that_break_the_rule_are_refused(http, job_id):
    shown = job_id.replace("%22", '"')
    assert http.put(job_id, CONFIG).error == (400, ILLEGAL, f"Invalid job_id; '{shown}' can contain {ALPHABET}")


@pytest.mark.parametrize("job_id", ["a", "0", "a.b", "a_b-c.d", "0-9", "x" * 64])
def test_ids_that_keep_the_rule_are_taken(http, job_id):
    assert http.put(job_id, CONFIG).ok()["job_id"] == job_id


def test_an_id_of_more_than_64_characters_is_refused(http):
    assert http.put("x" * 65, CONFIG).error == (400, ILLEGAL, "The job id cannot contain more than 64 characters.")


CREATE_REFUSED = {
    "another id in the body": (
        {**CONFIG, "job_id": "different"}, ILLEGAL,
        "Inconsistent job_id; 'different' specified in the body differs from 'refused' specified as a URL argument",
    ),
    "group with a bad name": (
        {**CONFIG, "groups": ["__"]}, ILLEGAL,
        f"Invalid group id '__'; must be non-empty string and may contain {ALPHABET}",
    ),
    "empty group": (
        {**CONFIG, "groups": [""]}, ILLEGAL,
        f"Invalid group id ''; must be non-empty string and may contain {ALPHABET}",
    ),
    "group named like the job": (
        {**CONFIG, "groups": ["refused"]}, EXISTS,
        "job and group names must be unique but job [refused] and group [refused] have the same name",
    ),
    "results index with a bad name": (
        {**CONFIG, "results_index_name": "A"}, ILLEGAL, f"Invalid results_index_name; 'A' can contain {ALPHABET}"
    ),
    "a snapshot to begin with": (
        {**CONFIG, "model_snapshot_id": "1"}, ILLEGAL,
        "The job is configured with fields [model_snapshot_id] that are illegal to set at job creation",
    ),
    "times of the server": (
        {**CONFIG, "create_time": 1, "finished_time": 2}, ILLEGAL,
        "The job is configured with fields [create_time, finished_time] that are illegal to set at job creation",
    ),
    "no analysis": ({"data_description": {}}, ILLEGAL, "An analysis_config must be set"),
    "no data description": (
        {"analysis_config": {"detectors": [{"function": "count"}]}}, ILLEGAL, "A data_description must be set"
    ),
    "unknown format": (
        {**CONFIG, "data_description": {"format": "json"}}, CONTENT,
        "[1:1] [data_description] failed to parse field [format]: expected one of [xcontent, delimited] but got [json]",
    ),
    "bad time format": (
        {**CONFIG, "data_description": {"time_format": "invalid"}}, ILLEGAL, "Invalid Time format string 'invalid'"
    ),
    "long delimiter": (
        {**CONFIG, "data_description": {"field_delimiter": "ab"}}, STATUS,
        "String must be a single character, found [ab]",
    ),
    "memory limit too small": (
        {**CONFIG, "analysis_limits": {"model_memory_limit": "100kb"}}, STATUS,
        "model_memory_limit must be at least 1 MiB. Value = 0",
    ),
    "negative examples": (
        {**CONFIG, "analysis_limits": {"categorization_examples_limit": -1}}, ILLEGAL,
        "categorization_examples_limit cannot be less than 0. Value = -1",
    ),
    "model plot without a switch": (
        {**CONFIG, "model_plot_config": {"terms": "a"}}, CONTENT,
        "[1:1] [model_plot_config] required field [enabled] is missing",
    ),
    "negative retention": (
        {**CONFIG, "model_snapshot_retention_days": -1}, ILLEGAL,
        "model_snapshot_retention_days cannot be less than 0. Value = -1",
    ),
    "negative results retention": (
        {**CONFIG, "results_retention_days": -1}, ILLEGAL, "results_retention_days cannot be less than 0. Value = -1"
    ),
    "negative window": (
        {**CONFIG, "renormalization_window_days": -1}, ILLEGAL,
        "renormalization_window_days cannot be less than 0. Value = -1",
    ),
    "short persist interval": (
        {**CONFIG, "background_persist_interval": "10s"}, ILLEGAL,
        "background_persist_interval cannot be less than 3,600. Value = 10",
    ),
    "daily retention beyond the other": (
        {**CONFIG, "daily_model_snapshot_retention_after_days": 31, "model_snapshot_retention_days": 30}, ILLEGAL,
        "The value of daily_model_snapshot_retention_after_days [31] cannot be greater than "
        "model_snapshot_retention_days [30]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATE_REFUSED)
def test_a_job_that_breaks_a_rule_is_refused_with_the_words_of_the_contract(http, name):
    body, kind, reason = CREATE_REFUSED[name]
    assert http.put("refused", body).error == (400, kind, reason)
    assert http.get("refused").status == 404


def test_equal_ids_in_url_and_body_are_taken(http):
    assert http.put("same", {**CONFIG, "job_id": "same"}).ok()["job_id"] == "same"


def test_a_job_named_like_an_existing_group_is_refused(http):
    http.job(groups=["taken-group"])
    reason = "job and group names must be unique but job [taken-group] and group [taken-group] have the same name"
    assert http.put("taken-group", CONFIG).error == (400, EXISTS, reason)


@pytest.mark.parametrize(
    ("given", "shown"), [(2048, "2048mb"), ("10mb", "10mb"), ("3g", "3072mb"), ("3000g", "3072000mb")]
)
def test_memory_limits_are_shown_in_megabytes(http, given, shown):
    answer = http.get(http.job(analysis_limits={"model_memory_limit": given})).ok()["jobs"][0]
    assert answer["analysis_limits"]["model_memory_limit"] == shown


# ------------------------------------------------------------------------------------------------------- validation


def detector(**fields):
    return {"analysis_config": {"detectors": [fields]}, "data_description": {}}


def analysis(**fields):
    detectors = fields.pop("detectors", [{"function": "count"}])
    return {"analysis_config": {"detectors": detectors, **fields}, "data_description": {}}


CATEGORIES = {"detectors": [{"function": "count", "by_field_name": "mlcategory"}], "categorization_field_name": "m"}
ANALYSIS_REFUSED = {
    "negative bucket span": (analysis(bucket_span="-3600s"), "bucket_span cannot be less or equal than 0. Value = -36"),
    "no bucket span": (analysis(bucket_span="0"), "bucket_span cannot be less or equal than 0. Value = 0"),
    "broken bucket span": (analysis(bucket_span="1500ms"), "bucket_span has to be a multiple of seconds"),
    "negative latency": (analysis(latency="-1s"), "latency cannot be less than 0. Value = -1"),
    "no detectors": (analysis(detectors=[]), "No detectors configured"),
    "null influencer": (analysis(influencers=[None]), "influencers"),
    "equal detectors": (
        analysis(detectors=[{"function": "mean", "field_name": "r", "by_field_name": "a"}] * 2),
        "Duplicate detectors are not allowed: [mean(r) by a]",
    ),
    "metric with summary counts": (
        analysis(detectors=[{"function": "metric", "field_name": "v"}], summary_count_field_name="n"),
        "The 'metric' function cannot be used in jobs that will take pre-summarized input",
    ),
    "unused categories": (
        analysis(categorization_field_name="m"),
        "categorization_field_name is set but mlcategory is not used in any detector by/over/partition field",
    ),
    "categories of nothing": (
        analysis(detectors=[{"function": "count", "by_field_name": "mlcategory"}]),
        "categorization_field_name must be set for mlcategory to be available",
    ),
    "equal filters": (
        analysis(**CATEGORIES, categorization_filters=["a", "a"]), "categorization_filters contain duplicates"
    ),
    "filters and analyzer": (
        analysis(**CATEGORIES, categorization_filters=["a"], categorization_analyzer="standard"),
        "categorization_filters cannot be used with categorization_analyzer - instead specify them as "
        "pattern_replace char_filters in the analyzer",
    ),
    "nested fields": (
        analysis(influencers=["a", "a.b"]), "Fields [a] and [a.b] cannot both be used in the same analysis_config"
    ),
    "time field in the analysis": (
        analysis(influencers=["time"]), "data_description.time_field may not be used in the analysis_config"
    ),
    "snapshot": ({**CONFIG, "model_snapshot_id": "1"}, "illegal to set at job creation"),
    "bad id": ({**CONFIG, "job_id": "_"}, f"Invalid job_id; '_' can contain {ALPHABET}"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANALYSIS_REFUSED)
def test_validation_refuses_what_creation_refuses_in_the_same_words(http, name):
    body, reason = ANALYSIS_REFUSED[name]
    validated = http.post("_validate", body)
    assert reason in validated.error[2]
    if name != "bad id":
        assert http.put("refused", body).text == validated.text


def test_a_valid_job_is_acknowledged_and_not_stored(http):
    for body in (CONFIG, {**CONFIG, "job_id": "validated"}, analysis(**CATEGORIES)):
        assert http.post("_validate", body).ok() == {"acknowledged": True}
    assert http.get("validated").status == 404


STANDALONE = (
    "Unless a count or temporal function is used one of field_name, by_field_name or over_field_name must be set"
)


def needs(field, function):
    return f"{field} must be set when the '{function}' function is used"


# Section 7: per function, which of field, by and over it needs (+), may have (o) and must not have (-).
FUNCTIONS = {
    **dict.fromkeys(("count", "high_count", "low_count"), "-oo"),
    **dict.fromkeys(("non_zero_count", "high_non_zero_count", "low_non_zero_count"), "-o-"),
    **dict.fromkeys(("nzc", "high_nzc", "low_nzc"), "-o-"),
    **dict.fromkeys(("distinct_count", "high_distinct_count", "low_distinct_count"), "+oo"),
    **dict.fromkeys(("dc", "high_dc", "low_dc"), "+oo"),
    "rare": "-+o",
    "freq_rare": "-++",
    **dict.fromkeys(("info_content", "high_info_content", "low_info_content", "metric"), "+oo"),
    **dict.fromkeys(("mean", "high_mean", "low_mean", "avg", "high_avg", "low_avg"), "+oo"),
    **dict.fromkeys(("median", "high_median", "low_median", "min", "max"), "+oo"),
    **dict.fromkeys(("sum", "high_sum", "low_sum"), "+oo"),
    **dict.fromkeys(("non_null_sum", "high_non_null_sum", "low_non_null_sum"), "+oo"),
    **dict.fromkeys(("varp", "high_varp", "low_varp", "lat_long"), "+oo"),
    **dict.fromkeys(("time_of_day", "time_of_week"), "-oo"),
}
FIELDS = ("field_name", "by_field_name", "over_field_name")
ECHOED = {"nzc": "non_zero_count", "dc": "distinct_count"}


def echoed(function):
    *side, name = function.split("_") if function.endswith(("nzc", "dc")) else [function]
    return "_".join([*side, ECHOED.get(name, name)])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_takes_the_fields_that_it_may_have_and_refuses_the_others(http, function):
    shown = echoed(function)
    needed = dict(zip(FIELDS, FUNCTIONS[function], strict=True))
    for chosen in range(8):
        fields = {name: name[0] for place, name in enumerate(FIELDS) if chosen >> place & 1}
        answer = http.post("_validate/detector", {"function": function, "partition_field_name": "p", **fields})
        missing = [name for name in FIELDS if needed[name] == "+" and name not in fields]
        forbidden = [name for name in FIELDS if needed[name] == "-" and name in fields]
        if not fields and "+" in FUNCTIONS[function]:
            assert answer.error == (400, STATUS, STANDALONE)
        elif "field_name" in missing:
            assert answer.error == (400, STATUS, needs("field_name", shown))
        elif "field_name" in forbidden:
            assert answer.error == (400, STATUS, f"field_name cannot be used with function '{shown}'")
        elif missing:
            assert answer.error == (400, STATUS, needs(missing[0], shown))
        elif forbidden:
            assert answer.error == (400, STATUS, f"over_field_name cannot be used with function '{shown}'")
        else:
            assert answer.ok() == {"acknowledged": True}


def test_short_names_are_shown_in_full_but_avg_as_it_is(http):
    detectors = [
        {"function": "nzc"},
        {"function": "high_dc", "field_name": "f"},
        {"function": "avg", "field_name": "f"},
    ]
    job = http.get(http.job(analysis_config={"detectors": detectors})).ok()["jobs"][0]
    shown = [each["function"] for each in job["analysis_config"]["detectors"]]
    assert shown == ["non_zero_count", "high_distinct_count", "avg"]


MEAN = {"function": "mean", "field_name": "v"}
DETECTORS_REFUSED = [
    ({"function": "nope"}, "Unknown function 'nope'"),
    ({**MEAN, "field_name": 'a"b'},
     "Invalid field name 'a\"b'. Field names including over, by and partition fields cannot contain any of these "
     'characters: ",\\'),
    ({**MEAN, "by_field_name": "a\\b"},
     "Invalid field name 'a\\b'. Field names including over, by and partition fields cannot contain any of these "
     'characters: ",\\'),
    ({**MEAN, "by_field_name": "x", "partition_field_name": "x"},
     "partition_field_name and by_field_name cannot be the same: 'x'"),
    ({**MEAN, "over_field_name": "x", "partition_field_name": "x"},
     "partition_field_name and over_field_name cannot be the same: 'x'"),
    ({**MEAN, "by_field_name": "x", "over_field_name": "x"},
     "by_field_name and over_field_name cannot be the same: 'x'"),
    ({**MEAN, "by_field_name": "count"}, "'count' is not a permitted value for by_field_name"),
    ({**MEAN, "over_field_name": "by"}, "'by' is not a permitted value for over_field_name"),
    ({**MEAN, "by_field_name": "over"}, "'over' is not a permitted value for by_field_name"),
    ({**MEAN, "by_field_name": "."}, "Invalid field name '.'. This name is reserved"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), DETECTORS_REFUSED)
def test_the_names_of_a_detector_s_fields_keep_the_rules(http, body, reason):
    assert http.post("_validate/detector", body).error == (400, STATUS, reason)


@pytest.mark.parametrize("exclude", ["all", "none", "by", "over", "ALL"])
def test_frequent_values_can_be_excluded_in_four_ways(http, exclude):
    http.post("_validate/detector", {**MEAN, "exclude_frequent": exclude}).ok()
    assert http.post("_validate/detector", {**MEAN, "exclude_frequent": f"{exclude}x"}).error[1] == CONTENT


# ------------------------------------------------------------------------------------------------------------- lists


@pytest.fixture(scope="module")
def listed(http):
    for job_id, groups in (("list-c", ["list-odd"]), ("list-a", ["list-odd", "list-x"]), ("list-b", [])):
        http.job(job_id, groups=groups)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("list-a", ["list-a"]),
        ("list-c,list-a", ["list-a", "list-c"]),
        ("list-a,list-a", ["list-a"]),
        ("list-*", ["list-a", "list-b", "list-c"]),
        ("*st-b", ["list-b"]),
        ("list-odd", ["list-a", "list-c"]),
        ("list-o*,list-b", ["list-a", "list-b", "list-c"]),
        ("list-x,list-c", ["list-a", "list-c"]),
        ("nothing-*", []),
        ("list-b,nothing-*", ["list-b"]),
        ("[l]ist-a*", []),
        ("list-%3F*", []),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/_stats"])
def test_jobs_are_selected_by_ids_groups_and_patterns_and_ordered_by_id(http, listed, expression, found, suffix):
    answer = http.get(f"{expression}{suffix}").ok()
    assert list(answer) == ["count", "jobs"]
    assert answer["count"] == len(found)
    assert [job["job_id"] for job in answer["jobs"]] == found


@pytest.mark.parametrize("expression", ["", "_all", "*"])
@pytest.mark.parametrize("suffix", ["", "_stats"])
def test_everything_is_selected_by_star_all_and_omission(http, listed, expression, suffix):
    path = "/".join(["/_ml/anomaly_detectors", *filter(None, (expression, suffix))])
    found = ids(http.get(path))
    assert {"list-a", "list-b", "list-c"} <= set(found)
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["allow_no_jobs", "allow_no_match"])
@pytest.mark.parametrize("suffix", ["", "/_stats"])
def test_a_pattern_may_match_nothing_unless_told_otherwise_an_exact_name_never(http, listed, name, suffix):
    assert http.get(f"nothing-*{suffix}", **{name: True}).ok() == {"count": 0, "jobs": []}
    assert http.get(f"nothing-*{suffix}", **{name: False}).error == (
        404, MISSING, "No known job with id 'nothing-*'"
    )  # fmt: skip
    for allowed in (True, False):
        assert http.get(f"x,list-a,y{suffix}", **{name: allowed}).error == (404, MISSING, "No known job with id 'x,y'")


def test_what_is_generated_can_be_left_out(http, listed):
    [job] = http.get("list-a", exclude_generated=True).ok()["jobs"]
    assert not {"job_id", "create_time", "job_version", "job_type"} & set(job)
    http.put("list-copy", {key: value for key, value in job.items() if key != "groups"}).ok()


# ------------------------------------------------------------------------------------------------------- statistics


ZEROS = (
    *("processed_record_count", "processed_field_count", "input_bytes", "input_field_count", "invalid_date_count"),
    *("missing_field_count", "out_of_order_timestamp_count", "empty_bucket_count", "sparse_bucket_count"),
    *("bucket_count", "input_record_count"),
)
SIZES = (
    *("model_bytes", "peak_model_bytes", "model_bytes_exceeded", "model_bytes_memory_limit"),
    *("total_by_field_count", "total_over_field_count", "total_partition_field_count"),
    "bucket_allocation_failures_count",
)
CATEGORY_COUNTS = (
    *("categorized_doc_count", "total_category_count", "frequent_category_count", "rare_category_count"),
    *("dead_category_count", "failed_category_count"),
)


def test_statistics_of_a_new_job_are_zeros_in_the_order_of_the_contract(http):
    job_id = http.job()
    answer = http.get(f"{job_id}/_stats").ok()
    log_time = answer["jobs"][0]["model_size_stats"]["log_time"]
    assert text(answer) == text({"count": 1, "jobs": [{
        "job_id": job_id,
        "data_counts": {"job_id": job_id, **dict.fromkeys(ZEROS, 0)},
        "model_size_stats": {
            "job_id": job_id, "result_type": "model_size_stats", **dict.fromkeys(SIZES, 0), "memory_status": "ok",
            **dict.fromkeys(CATEGORY_COUNTS, 0), "categorization_status": "ok", "log_time": log_time,
        },
        "forecasts_stats": {"total": 0, "forecasted_jobs": 0},
        "state": "closed",
        "timing_stats": {"job_id": job_id, "bucket_count": 0, "total_bucket_processing_time_ms": 0.0},
    }]})  # fmt: skip


def test_statistics_of_an_open_job_tell_where_it_runs_what_it_took_and_how_long(http):
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 3600, FIRST + 3 * 3600).ok(202)
    http.post(f"{job_id}/_flush").ok()
    stats = http.stats(job_id)
    assert list(stats) == [
        "job_id", "data_counts", "model_size_stats", "forecasts_stats", "state", "node", "assignment_explanation",
        "open_time", "timing_stats",
    ]  # fmt: skip
    assert list(stats["data_counts"]) == [
        "job_id", *ZEROS[:-1], "earliest_record_timestamp", "latest_record_timestamp", "last_data_time",
        "latest_empty_bucket_timestamp", "input_record_count",
    ]  # fmt: skip
    assert stats["state"] == "opened"
    assert list(stats["node"]) == ["id", "name", "ephemeral_id", "transport_address", "attributes"]
    assert stats["node"]["attributes"] == {"ml.max_open_jobs": "20"}
    assert stats["assignment_explanation"] == ""
    assert re.fullmatch(r"\d+s", stats["open_time"])
    assert list(stats["model_size_stats"])[-2:] == ["log_time", "timestamp"]
    assert stats["model_size_stats"]["model_bytes"] > 0
    timing = stats["timing_stats"]
    assert list(timing) == [
        "job_id", "bucket_count", "total_bucket_processing_time_ms",
        "minimum_bucket_processing_time_ms", "maximum_bucket_processing_time_ms", "average_bucket_processing_time_ms",
        "exponential_average_bucket_processing_time_ms", "exponential_average_bucket_processing_time_per_hour_ms",
    ]  # fmt: skip
    assert timing["bucket_count"] == 3
    low, high, average = (timing[f"{name}_bucket_processing_time_ms"] for name in ("minimum", "maximum", "average"))
    assert 0 < low <= average <= high
    assert average == pytest.approx(timing["total_bucket_processing_time_ms"] / 3)


def test_statistics_of_a_closed_job_have_no_node(http):
    job_id = http.job(is_open=True)
    http.post(f"{job_id}/_close").ok()
    assert not {"node", "assignment_explanation", "open_time"} & set(http.stats(job_id))


# ----------------------------------------------------------------------------------------------------------- update


def updated(http, job_id, **body):
    return http.post(f"{job_id}/_update", body)


def test_an_update_changes_what_it_names_and_answers_the_whole_job(http):
    detectors = [
        {"function": "mean", "field_name": "r", "by_field_name": "a"},
        {"function": "count", "by_field_name": "mlcategory"},
    ]
    before = http.put("update-all", {
        "description": "before",
        "analysis_config": {
            "bucket_span": "1h", "detectors": detectors, "categorization_field_name": "m",
            "categorization_filters": ["cat1.*"],
        },
        "data_description": {"time_field": "time"},
        "custom_settings": {"setting1": "custom1", "setting2": "custom2"},
    }).ok()  # fmt: skip
    http.post("update-all/_open").ok()
    rule = {"actions": ["skip_result"], "conditions": [{"applies_to": "actual", "operator": "lt", "value": 1.0}]}
    answer = updated(
        http, "update-all",
        description="after",
        detectors=[{"detector_index": 0, "custom_rules": [rule]}, {"detector_index": 1, "description": "updated"}],
        model_plot_config={"enabled": False, "terms": "foobar"},
        renormalization_window_days=10,
        background_persist_interval="3h",
        model_snapshot_retention_days=30,
        daily_model_snapshot_retention_after_days=2,
        results_retention_days=40,
        categorization_filters=["cat3.*"],
        custom_settings={"setting3": "custom3"},
        groups=["update-group"],
        allow_lazy_open=True,
    ).ok()  # fmt: skip
    first, second = before["analysis_config"]["detectors"]
    expected = {
        "job_id": "update-all",
        "job_type": "anomaly_detector",
        "job_version": before["job_version"],
        "groups": ["update-group"],
        "description": "after",
        "create_time": before["create_time"],
        "analysis_config": {
            **before["analysis_config"],
            "categorization_filters": ["cat3.*"],
            "detectors": [
                {**{k: v for k, v in first.items() if k != "detector_index"}, "custom_rules": [rule],
                 "detector_index": 0},
                {**second, "detector_description": "updated"},
            ],
        },
        "analysis_limits": before["analysis_limits"],
        "data_description": before["data_description"],
        "model_plot_config": {"enabled": False, "terms": "foobar", "annotations_enabled": False},
        "renormalization_window_days": 10,
        "background_persist_interval": "3h",
        "model_snapshot_retention_days": 30,
        "daily_model_snapshot_retention_after_days": 2,
        "results_retention_days": 40,
        "custom_settings": {"setting3": "custom3"},
        "results_index_name": "shared",
        "allow_lazy_open": True,
    }  # fmt: skip
    assert text(answer) == text(expected)
    assert text(http.get("update-all").ok()["jobs"]) == text([expected])


def test_annotations_follow_the_model_plot_unless_told_otherwise(http):
    job_id = http.job()
    for plot, annotated in (
        ({"enabled": True}, True), ({"enabled": False}, False), ({"enabled": False, "annotations_enabled": True}, True),
    ):  # fmt: skip
        answer = updated(http, job_id, model_plot_config=plot).ok()
        assert answer["model_plot_config"]["annotations_enabled"] is annotated


def test_the_memory_limit_of_a_closed_job_may_fall_but_not_below_what_is_used(http):
    config = {"analysis_config": {"bucket_span": "1h", "detectors": [{"function": "count", "by_field_name": "s"}]}}
    job_id = http.job(**config, is_open=True)
    records = "".join(f'{{"time": {FIRST + second}, "s": "s{second}"}}\n' for second in range(1500))
    http.post(f"{job_id}/_data", records + f'{{"time": {FIRST + 7200}, "s": "s0"}}').ok(202)
    http.post(f"{job_id}/_close").ok()
    used = http.stats(job_id)["model_size_stats"]["model_bytes"]
    assert used > 1024 * 1024
    status, kind, reason = updated(http, job_id, analysis_limits={"model_memory_limit": "1mb"}).error
    assert (status, kind) == (400, STATUS)
    assert re.fullmatch(
        r"Invalid update value for analysis_limits: model_memory_limit cannot be decreased below current usage; "
        r"current usage \[[\d.]+mb\], update had \[1mb\]", reason
    )  # fmt: skip
    assert updated(http, job_id, analysis_limits={"model_memory_limit": "512mb"}).ok()["analysis_limits"] == {
        "model_memory_limit": "512mb", "categorization_examples_limit": 4
    }  # fmt: skip


UPDATES_REFUSED = {
    "detector that is not there": (
        {"detectors": [{"detector_index": 5}]}, STATUS, "detector_index [5] names no detector: expected 0 to 0"
    ),
    "detector without an index": (
        {"detectors": [{"description": "x"}]}, CONTENT, "[1:1] [detectors] required field [detector_index] is missing"
    ),
    "retention": (
        {"daily_model_snapshot_retention_after_days": 31}, ILLEGAL,
        "The value of daily_model_snapshot_retention_after_days [31] cannot be greater than "
        "model_snapshot_retention_days [10]",
    ),
    "what cannot change": ({"analysis_config": {}}, CONTENT, "[1:1] [job_update] unknown field [analysis_config]"),
    "an id": ({"job_id": "x"}, CONTENT, "[1:1] [job_update] unknown field [job_id]"),
    "filters of nothing": (
        {"categorization_filters": ["a"]}, STATUS, "categorization_filters need categorization_field_name to be set"
    ),
    "own name as a group": (
        {"groups": ["update-refused"]}, EXISTS,
        "job and group names must be unique but job [update-refused] and group [update-refused] have the same name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES_REFUSED)
def test_an_update_that_breaks_a_rule_changes_nothing(http, name):
    if http.get("update-refused").status == 404:
        http.job("update-refused")
    before = http.get("update-refused").text
    body, kind, reason = UPDATES_REFUSED[name]
    assert http.post("update-refused/_update", body).error == (400, kind, reason)
    assert http.get("update-refused").text == before


@pytest.mark.parametrize("expression", ["_all", "*"])
def test_only_one_job_can_be_updated_at_a_time(http, expression):
    assert updated(http, expression, description="x").error == (
        400, ILLEGAL, "Cannot update more than 1 job at a time"
    )  # fmt: skip


def test_names_of_first_releases_are_understood_in_updates(http):
    job_id = http.job()
    body = {"detectors": [{"index": 0, "description": "old", "rules": []}], "model_snapshot_id": "1"}
    answer = http.post(f"{job_id}/_update", body).ok()
    assert answer["analysis_config"]["detectors"][0]["detector_description"] == "old"
    assert "model_snapshot_id" not in answer


# ----------------------------------------------------------------------------------------------------------- delete


def test_a_deleted_job_is_gone_and_its_id_free(http):
    job_id = http.job()
    assert http.delete(job_id).ok() == {"acknowledged": True}
    for call in (http.get(job_id), http.get(f"{job_id}/_stats"), http.get(f"{job_id}/results/buckets")):
        assert call.error == (404, MISSING, f"No known job with id '{job_id}'")
    http.put(job_id, CONFIG).ok()
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == 0


def test_a_deletion_need_not_be_waited_for(http):
    answer = http.delete(http.job(), wait_for_completion=False).ok()
    assert list(answer) == ["task"]
    assert re.fullmatch(r"[^:]+:\d+", answer["task"])
    task = http.get(f"/_tasks/{answer['task']}", wait_for_completion=True).ok()
    assert (task["completed"], task["response"]) == (True, {"acknowledged": True})


UNKNOWN = [
    ("GET", "nope"), ("GET", "nope/_stats"), ("POST", "nope/_open"), ("POST", "nope/_data", '{"time": 1}'),
    ("POST", "nope/_flush"), ("POST", "nope/_close"), ("POST", "nope/_close?force=true"), ("POST", "nope/_update", {}),
    ("DELETE", "nope"), ("DELETE", "nope?force=true"), ("GET", "nope/results/buckets"), ("GET", "nope/results/records"),
    ("GET", "nope/results/influencers"), ("GET", "nope/results/categories"), ("GET", "nope/results/overall_buckets"),
    ("GET", "nope/model_snapshots"), ("POST", "nope/model_snapshots/1/_update", {"retain": True}),
    ("POST", "nope/model_snapshots/1/_revert"), ("DELETE", "nope/model_snapshots/1"),
]  # fmt: skip


@pytest.mark.parametrize("call", UNKNOWN, ids=lambda call: " ".join(call[:2]))
def test_every_call_on_an_unknown_job_is_not_found(http, call):
    assert http(*call).error == (404, MISSING, "No known job with id 'nope'")
