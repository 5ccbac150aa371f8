"""Records in: from bytes as users send them to columns, and from columns to the blobs that the log keeps.

The way through: `reader` recognises the format and cuts the stream; `json_reader` or `csv_reader` (grammar in
`csv_rows`) finds each field's texts as `spans`; `batch` turns them into times (`time_format`), numbers
(`decimals`) and coded texts (`dictionary`); `codec` stores the batch.
"""

from domain.records.batch import RecordBatch, RecordSchema, has_same_columns, join_batches, numbers_of
from domain.records.codec import CorruptBatch, EncodedBatch, content_digest, decode_batch, encode_batch
from domain.records.csv_reader import CsvFormat, CsvHeader, find_csv_cut, read_csv
from domain.records.dictionary import TextColumn
from domain.records.json_reader import read_json
from domain.records.json_scan import find_json_cut
from domain.records.reader import RecordReader, read_records

__all__ = [
    "CorruptBatch",
    "CsvFormat",
    "CsvHeader",
    "EncodedBatch",
    "RecordBatch",
    "RecordReader",
    "RecordSchema",
    "TextColumn",
    "content_digest",
    "decode_batch",
    "encode_batch",
    "find_csv_cut",
    "find_json_cut",
    "has_same_columns",
    "join_batches",
    "numbers_of",
    "read_csv",
    "read_json",
    "read_records",
]
