"""Files as a source: formats, globs, files that grow, and nothing outside of the root."""

import gzip
import json
import os
import time

import pytest

from domain.datafeeds import predicate_of
from marigraph.sources import MissingField, MissingIndex, SourceError, Sources
from marigraph.sources import files as files_module
from marigraph.sources.registry import SourceConfigError
from tests.support.feeds import START_MS, rows
from tests.unit.marigraph.test_sources_sql import END_MS, QUERIES, plain, scanned, search_of

RECORDS = rows(60)


def csv_text(records=RECORDS, delimiter=",", header=True):
    lines = [delimiter.join(("time", "airline", "v"))] if header else []
    lines += [delimiter.join(map(str, (t, a, v))) for t, a, v in records]
    return "\n".join(lines) + "\n"


def ndjson(records=RECORDS):
    return "".join(json.dumps({"time": t, "airline": a, "v": v}) + "\n" for t, a, v in records)


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "logs"
    path.mkdir()
    return path


@pytest.fixture
def sources(root):
    return Sources({"logs": {"type": "files", "root": str(root)}})


def settle(path):
    """Let a file look as if it had rested."""
    os.utime(path, (time.time() - 60, time.time() - 60))


def texts(records=RECORDS):
    """Values of CSV are texts, as they are posted."""
    return [{**each, "v": str(each["v"])} for each in plain(records)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_is_read_whatever_delimits_it(root, sources, delimiter):
    (root / "air.csv").write_text(csv_text(delimiter=delimiter))
    source, search = search_of(sources, indices=["air.csv"])
    source.check(search)
    assert scanned(source, search) == texts()
    assert source.count(search, RECORDS[10][0], RECORDS[20][0]) == 10


def test_ndjson_is_read_and_nested_names_are_joined(root, sources):
    lines = [json.dumps({"time": t, "deep": {"er": {"v": v}}, "airline": a}) for t, a, v in RECORDS]
    (root / "air.json").write_text("\n\n".join(lines) + "\n")
    source, search = search_of(sources, indices=["air.json"], fields=("deep.er.v", "airline"))
    assert scanned(source, search)[1] == {"time": RECORDS[1][0], "airline": "a1", "deep.er.v": RECORDS[1][2]}


@pytest.mark.parametrize("text", [csv_text(), ndjson()])
def test_gzip_is_told_by_its_content(root, sources, text):
    (root / "air.log").write_bytes(gzip.compress(text.encode()))
    source, search = search_of(sources, indices=["air.log"])
    for _ in range(2):
        assert len(scanned(source, search)) == len(RECORDS)


def test_a_broken_gzip_is_an_error(root, sources):
    (root / "air.log").write_bytes(gzip.compress(csv_text(rows(5_000)).encode())[:-20])
    source, search = search_of(sources, indices=["air.log"])
    with pytest.raises(SourceError, match=r"air\.log"):
        scanned(source, search)


@pytest.mark.parametrize(
    ("time_format", "write"),
    [
        ("epoch", lambda t: t / 1000),
        ("epoch_ms", lambda t: t),
        ("yyyy-MM-dd HH:mm:ss", lambda t: time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t // 1000))),
        ("dd/MM/yyyy HH:mm:ss", lambda t: time.strftime("%d/%m/%Y %H:%M:%S", time.gmtime(t // 1000))),
        ("epoch", lambda t: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t // 1000))),
    ],
)
def test_times_are_read_as_the_job_says(root, sources, time_format, write):
    (root / "air.csv").write_text(csv_text([(write(t), a, v) for t, a, v in RECORDS]))
    source, search = search_of(sources, time_format, indices=["air.csv"])
    assert scanned(source, search) == texts()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_means_the_same_as_elsewhere(root, sources, query):
    (root / "air.json").write_text(ndjson())
    source, search = search_of(sources, indices=["air.json"], query=query)
    assert scanned(source, search) == [each for each in plain() if predicate_of(search.query, "time")(each)]


def test_files_are_merged_by_time_whatever_they_are_called(root, sources):
    (root / "app.log").write_text(csv_text(RECORDS[40:]))
    (root / "app.log.1").write_text(csv_text(RECORDS[20:40]))
    (root / "app.log.2.gz").write_bytes(gzip.compress(csv_text(RECORDS[:20]).encode()))
    (root / "other").mkdir()
    (root / "other" / "app.log").write_text(csv_text(RECORDS[::7]))
    source, search = search_of(sources, indices=["app.log*"])
    assert scanned(source, search) == texts()
    source, search = search_of(sources, indices=["app.log*", "*/app.log"])
    found = scanned(source, search)
    assert [each["time"] for each in found] == sorted(each["time"] for each in found)
    assert len(found) == len(RECORDS) + len(RECORDS[::7])


def test_lines_a_little_out_of_order_are_put_in_order(root, sources):
    shuffled = [*RECORDS[5:10], *RECORDS[:5], *RECORDS[10:]]
    (root / "air.csv").write_text(csv_text(shuffled))
    assert scanned(*search_of(sources, indices=["air.csv"])) == texts()


def test_what_is_no_record_is_passed_over(root, sources, caplog):
    broken = ndjson(RECORDS[:2]) + 'no json\n[1]\n{"time": "soon"}\n{"v": 1}\n{"time": {}}\n' + ndjson(RECORDS[2:])
    (root / "air.json").write_text(broken)
    assert scanned(*search_of(sources, indices=["air.json"])) == plain()
    assert "5 lines are no records" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"time,airline,v\n",
        b"\xff\xfe\x00garbage" * 100,
        bytes(range(256)) * 100,
        b'{"time": 1' + b"[" * 100_000 + b"\n",
    ],
)
def test_a_file_that_holds_nothing_of_use_gives_nothing(root, sources, content):
    (root / "air.csv").write_bytes(content)
    settle(root / "air.csv")
    assert scanned(*search_of(sources, indices=["air.csv"])) == []


@pytest.mark.parametrize("content", [b"x" * 2_000_000, b'time,airline,v\n1,"' + b"y\n" * 200_000])
def test_a_line_without_end_is_an_error_and_not_read_into_memory(root, sources, content):
    (root / "air.csv").write_bytes(content)
    settle(root / "air.csv")
    source, search = search_of(sources, indices=["air.csv"])
    with pytest.raises(SourceError):
        scanned(source, search)


class TestGrowing:
    @pytest.fixture
    def read(self, monkeypatch):
        """Bytes that were read, by the places at which files were begun."""
        begun = []
        original = files_module.LineFile.__init__

        def opened(self, file, *arguments):
            original(self, file, *arguments)
            begun.append(self._offset)

        monkeypatch.setattr(files_module.LineFile, "__init__", opened)
        return begun

    def test_what_was_read_is_not_read_again(self, root, sources, read):
        path = root / "air.csv"
        path.write_text(csv_text(RECORDS[:30]))
        source, search = search_of(sources, indices=["air.csv"])
        cut = RECORDS[30][0]
        assert scanned(source, search, START_MS, cut) == texts(RECORDS[:30])
        with path.open("a") as file:
            file.write(csv_text(RECORDS[30:], header=False))
        read.clear()
        assert scanned(source, search, cut, END_MS) == texts(RECORDS[30:])
        assert min(read) == len(csv_text(RECORDS[:30]))
        read.clear()
        assert scanned(source, search, END_MS, END_MS + 1) == []
        assert read == []
        assert source.count(search, START_MS, END_MS) == len(RECORDS), "an earlier time is still found"

    def test_half_a_line_is_left_until_it_is_whole(self, root, sources):
        path = root / "air.csv"
        text = csv_text(RECORDS[:2])
        path.write_text(text[:-3])
        source, search = search_of(sources, indices=["air.csv"])
        assert scanned(source, search) == texts(RECORDS[:1])
        path.write_text(text)
        assert scanned(source, search) == texts(RECORDS[:2])

    def test_a_last_line_without_a_break_is_read_once_the_file_rests(self, root, sources):
        path = root / "air.csv"
        path.write_text(csv_text(RECORDS[:2])[:-1])
        source, search = search_of(sources, indices=["air.csv"])
        assert len(scanned(source, search)) == 1
        settle(path)
        assert len(scanned(source, search)) == 2

    def test_a_file_that_was_replaced_is_read_from_its_beginning(self, root, sources):
        path = root / "app.log"
        path.write_text(csv_text(RECORDS[:30]))
        source, search = search_of(sources, indices=["app.log*"])
        cut = RECORDS[30][0]
        assert len(scanned(source, search, START_MS, cut)) == 30
        path.rename(root / "app.log.1")
        path.write_text(csv_text(RECORDS[30:]))
        assert scanned(source, search, cut, END_MS) == texts(RECORDS[30:])

    def test_a_file_that_was_truncated_is_read_from_its_beginning(self, root, sources):
        path = root / "app.log"
        path.write_text(csv_text(RECORDS[:30]))
        source, search = search_of(sources, indices=["app.log"])
        assert len(scanned(source, search, START_MS, RECORDS[30][0])) == 30
        path.write_text(csv_text(RECORDS[30:40]))
        assert len(scanned(source, search, RECORDS[30][0], END_MS)) == 10


@pytest.mark.parametrize(
    "index",
    [
        "../secret.csv",
        "*/../../secret.csv",
        "/etc/passwd",
        "//etc/passwd",
        "./air.csv",
        "a/../air.csv",
        "..",
        "~/.ssh/id_rsa",
        "..\\secret.csv",
        "air.csv\0",
        "file:///etc/passwd",
        "link.csv",
        "l*",
        "linked/secret.csv",
        "*/secret.csv",
        "**/secret.csv",
        "pipe",
        "directory",
    ],
)
def test_nothing_outside_of_the_root_is_an_index(root, sources, tmp_path, index):
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in (tmp_path / "secret.csv", outside / "secret.csv"):
        path.write_text(csv_text())
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / "directory").mkdir()
    os.mkfifo(root / "pipe")
    source, search = search_of(sources, indices=[index])
    with pytest.raises((MissingIndex, SourceError)):
        source.check(search)
    try:
        found = scanned(source, search)
    except (MissingIndex, SourceError):
        found = []
    assert found == []


def test_a_link_within_the_root_is_followed(root, sources):
    (root / "air-2024.csv").write_text(csv_text())
    (root / "air.csv").symlink_to(root / "air-2024.csv")
    assert scanned(*search_of(sources, indices=["air.csv"])) == texts()
    assert scanned(*search_of(sources, indices=["air*"])) == texts(), "one file is read once, whatever its names"


def test_a_file_that_becomes_a_link_outwards_is_not_opened(root, sources, tmp_path, monkeypatch):
    (root / "air.csv").write_text(csv_text())
    (tmp_path / "secret.csv").write_text(csv_text())
    source, search = search_of(sources, indices=["air.csv"])
    found = source._find(search)
    (root / "air.csv").unlink()
    (root / "air.csv").symlink_to(tmp_path / "secret.csv")
    monkeypatch.setattr(source, "_find", lambda _search: found)
    with pytest.raises(SourceError):
        scanned(source, search)


def test_what_is_missing_is_named(root, sources):
    (root / "air.csv").write_text(csv_text())
    source, search = search_of(sources, indices=["air.csv", "utopia*.csv"])
    with pytest.raises(MissingIndex, match=r"utopia\*\.csv"):
        source.check(search)
    source, search = search_of(sources, indices=["air.csv"], fields=("nowhere",))
    with pytest.raises(MissingField, match=r"\[nowhere\]"):
        source.check(search)


def test_too_many_files_are_refused(root, sources, monkeypatch):
    monkeypatch.setattr(files_module, "FILES_MAX", 2)
    for n in range(3):
        (root / f"{n}.csv").write_text(csv_text())
    source, search = search_of(sources, indices=["*.csv"])
    with pytest.raises(SourceError, match="3 files match"):
        source.check(search)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "files"}, "root must be a text"),
        ({"type": "files", "root": "relative"}, "root must be an absolute path"),
        ({"type": "files", "root": "/nowhere/at/all"}, "is no directory"),
        ({"type": "files", "root": "/", "follow": True}, "unknown options: follow"),
        ({"type": "sql"}, "url must be a text"),
        ({"type": "sql", "url": "no://such:secret@db"}, "url"),
        ({"type": "sql", "url": "a.db", "tables": "x"}, "tables must be a list of texts"),
        ({"type": "sql", "url": "a.db", "queries": {"a": 1}}, "queries must be a table of texts"),
        ({"type": "sql", "url": "postgresql://${NO_SUCH_VARIABLE}@db"}, "environment has no NO_SUCH_VARIABLE"),
        ({"type": "kafka"}, "type must be one of"),
        ({}, "type must be one of"),
        ([], "a source is a table"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(SourceConfigError, match=message) as caught:
        Sources({"x": options}, {}).check()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["[sources", "a = 1\n", "[sources]\nx = 1\n", '[sources."a b"]\ntype = "sql"\n'])
def test_a_wrong_file_of_sources_is_refused(tmp_path, text):
    path = tmp_path / "sources.toml"
    path.write_text(text)
    with pytest.raises(SourceConfigError, match="sources"):
        Sources.read(path)
    with pytest.raises(SourceConfigError, match="cannot be read"):
        Sources.read(tmp_path / "none.toml")


def test_secrets_come_from_the_environment(tmp_path):
    path = tmp_path / "sources.toml"
    path.write_text('[sources.a]\ntype = "files"\nroot = "${ROOT}"\n')
    assert Sources.read(path, {"ROOT": str(tmp_path)}).names == ("a",)
