"""What a job reads of its records."""

from types import SimpleNamespace

from domain.records import RecordSchema, read_json
from domain.records.batch import TEXT_BYTES_MAX
from tests.unit.domain.records.samples import SCHEMA, texts_of


def detector(function: str, **fields: str) -> SimpleNamespace:
    names = ("field_name", "by_field_name", "over_field_name", "partition_field_name")
    return SimpleNamespace(base_function=function, **({name: None for name in names} | fields))


def test_a_schema_reads_metrics_as_numbers_and_the_rest_as_texts() -> None:
    config = SimpleNamespace(
        time_field="t",
        time_format="epoch",
        detectors=(
            detector("mean", field_name="v", by_field_name="mlcategory", partition_field_name="p"),
            detector("distinct_count", field_name="user", over_field_name="v"),
            detector("lat_long", field_name="place"),
        ),
        influencers=("p", "host"),
        summary_count_field_name="n",
        categorization_field_name="message",
        analysis_fields=("v", "p", "user", "place", "host", "n", "message"),
    )
    schema = RecordSchema.of(config)
    assert schema.number_fields == ("v", "n")
    assert schema.text_fields == ("p", "user", "v", "place", "host", "message")
    assert schema.field_names == ("t", "v", "n", "p", "user", "place", "host", "message")


def test_a_value_that_is_too_long_is_missing() -> None:
    long = "x" * (TEXT_BYTES_MAX + 1)
    batch = read_json(b'{"time":1,"a.b":"%s","series":"%s","value":1}' % (long.encode(), b"y" * TEXT_BYTES_MAX), SCHEMA)
    assert texts_of(batch, "a.b") == [None]
    assert texts_of(batch, "series") == ["y" * TEXT_BYTES_MAX]
    assert batch.missing_field_count == 1


def test_records_without_a_valid_date_are_counted_and_left_out() -> None:
    batch = read_json(b'{"time":"x","series":"a"}\n{"series":"b"}\n{"time":3,"series":"c"}', SCHEMA)
    assert (batch.record_count, batch.invalid_date_count, len(batch)) == (3, 2, 1)
    assert batch.texts["series"].values == ["c"]
    assert batch.missing_field_count == 6
    assert batch.input_field_count == 2
