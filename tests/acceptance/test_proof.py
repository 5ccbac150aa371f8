"""Proof as people use it: `marigraph audit verify`, `seal`, `seals`, `key` and `export`, and the script of exports."""

import json
import os
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from domain.errors import InvalidArgument
from eventstore.signing import SigningKey
from marigraph import Marigraph
from marigraph.cli.main import execute
from marigraph.proof import verify_export
from marigraph.proof.sealing import Sealer
from marigraph.settings import Seals, Settings
from tests.support.jobs import synthetic
from tests.support.serving import client_of

DATA = synthetic(300)
INTACT, TAMPERED, NOT_CHECKED = 0, 1, 2


@pytest.fixture(scope="module")
def original(sqlite_template, tmp_path_factory):
    """A database with a job of some posts, sealed but for the last event, with its key and a copy of the seals."""
    folder = tmp_path_factory.mktemp("proof")
    path = folder / "marigraph.db"
    shutil.copyfile(sqlite_template, path)
    with Marigraph(str(path), actor="tester") as ml:
        ml.put_job("web", DATA.body)
        ml.open_job("web")
        for start in range(0, 300, 100):
            ml.post_data("web", DATA.csv(start, start + 100))
        ml.put_job("other", DATA.body)
    assert execute(["audit", "key", str(folder / "key.pem")]) == INTACT
    arguments = ["--key", str(folder / "key.pem"), "--export", str(folder / "seals.jsonl"), "--events", "4"]
    assert execute(["--db", str(path), "audit", "seal", *arguments]) == INTACT
    with Marigraph(str(path), actor="tester") as ml:
        ml.close_job("web")
    return folder


@pytest.fixture
def folder(original, tmp_path, monkeypatch):
    """A copy of all of it, in which nobody has a key of his own."""
    for each in original.iterdir():
        shutil.copyfile(each, tmp_path / each.name)
    (tmp_path / "key.pem").chmod(0o600)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder, capsys):
    """Run a command on the copy; returns exit code, output (JSON if asked for) and error output."""
    capsys.readouterr()

    def run(*arguments, db="marigraph.db"):
        code = execute(["--db", str(folder / db), *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments and out else out, err

    return run


def change(folder, *statements):
    with sqlite3.connect(folder / "marigraph.db") as connection:
        for statement in (
            "DROP TRIGGER IF EXISTS events_no_update",
            "DROP TRIGGER IF EXISTS events_no_delete",
            *statements,
        ):
            connection.execute(statement)
    connection.close()


class TestVerify:
    def test_tells_what_was_checked(self, cli):
        code, found, _ = cli("audit", "verify", "--seals", "seals.jsonl", "--public-key", "key.pem.pub", "--json")
        assert code == INTACT
        assert (found["ok"], found["first_bad"], found["error"], found["warnings"]) == (True, None, None, [])
        assert (found["streams"], found["payloads"]) == (2, 3)
        assert found["sealed_events"] < found["events"]
        code, out, _ = cli("audit", "verify", "--job", "web")
        assert code == INTACT
        assert out.splitlines()[-1] == "the log is intact"

    def test_names_the_first_bad_event(self, cli, folder):
        change(folder, "UPDATE events SET actor = 'nobody' WHERE version = 3")
        code, found, _ = cli("audit", "verify", "--all", "--json")
        what = "the hash does not fit the event's columns and the hash before it"
        assert code == TAMPERED
        assert found["first_bad"] == {"stream": "job-web", "version": 3, "position": 3, "what": what}
        assert found["missing_triggers"] == ["events_no_update", "events_no_delete"]
        assert "append-only" in found["warnings"][0]
        code, out, _ = cli("audit", "verify")
        assert code == TAMPERED
        assert f"TAMPERED: job-web, version 3, position 3: {what}" in out

    def test_missing_triggers_alone_are_a_warning(self, cli, folder):
        change(folder)
        code, found, _ = cli("audit", "verify", "--json")
        assert (code, found["ok"]) == (INTACT, True)
        assert len(found["missing_triggers"]) == 2

    def test_a_payload_that_is_gone_without_a_word_is_tampering(self, cli, folder):
        change(folder, "DELETE FROM payloads WHERE rowid = 2")
        code, found, _ = cli("audit", "verify", "--json")
        assert code == TAMPERED
        assert (found["first_bad"]["version"], found["payloads"]) == (4, 2)
        assert "missing" in found["first_bad"]["what"]

    def test_payloads_of_a_deleted_job_may_be_gone(self, cli, folder):
        with Marigraph(str(folder / "marigraph.db")) as ml:
            ml.delete_job("web")
        code, found, _ = cli("audit", "verify", "--json")
        assert (code, found["payloads_dropped"]) == (INTACT, 3)

    def test_changes_no_file(self, cli, folder):
        before = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        assert cli("audit", "verify")[0] == INTACT
        after = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
        assert {name: after[name] for name in before} == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--job", "nope"], "No known job with id 'nope'"),
            (["--job", "web", "--all"], "give --job or --all, not both"),
            (["--seals", "key.pem.pub"], "line 1 of key.pem.pub is no JSON"),
            (["--public-key", "seals.jsonl"], "seals.jsonl holds no public key"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_in_one_line(self, cli, arguments, message):
        code, out, err = cli("audit", "verify", *arguments)
        assert (code, out) == (NOT_CHECKED, "")
        assert message in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("content", [None, b"", b"this is no database, whatever its name says" * 100])
    def test_what_is_no_database_could_not_be_checked(self, cli, folder, content):
        if content is not None:
            (folder / "x.db").write_bytes(content)
        code, out, err = cli("audit", "verify", db="x.db")
        assert code == NOT_CHECKED
        assert "x.db" in out + err
        assert "Traceback" not in err

    def test_seals_of_a_stranger_could_not_be_checked_by_who_has_a_key(self, cli, folder):
        cli("audit", "key")  # makes one
        code, found, _ = cli("audit", "verify", "--json")
        assert (code, found["first_bad"]) == (NOT_CHECKED, None)
        assert "--public-key" in found["error"]
        assert cli("audit", "verify", "--public-key", "key.pem.pub")[0] == INTACT

    def test_damaged_pages_are_found_or_harmless_and_never_a_traceback(self, cli, folder):
        assert {TAMPERED, NOT_CHECKED} <= set(codes_of_damages(cli, folder, range(20)))

    @pytest.mark.slow
    def test_a_thousand_damages_are_never_a_traceback(self, cli, folder):
        codes = codes_of_damages(cli, folder, range(1_000))
        assert set(codes) == {INTACT, TAMPERED, NOT_CHECKED}


def codes_of_damages(cli, folder, seeds):
    """Verify copies of which one page has a changed bit, or a stretch of zeros; return the exit codes."""
    content, codes = (folder / "marigraph.db").read_bytes(), []
    events = [found.start() for found in re.finditer(b"record_count", content)]
    for seed in seeds:
        chance, damaged = random.Random(seed), bytearray(content)
        start = chance.randrange(len(content))
        if seed % 2:
            start = chance.choice([start, *events])
            damaged[start] ^= 1 << chance.randrange(8)
        else:
            damaged[start : start + 2_000] = bytes(len(damaged[start : start + 2_000]))
        (folder / "damaged.db").write_bytes(damaged)
        code, found, err = cli("audit", "verify", "--json", db="damaged.db")
        assert "Traceback" not in err
        assert err.count("\n") <= 1
        assert code in (INTACT, TAMPERED, NOT_CHECKED)
        assert not code or err or found["first_bad"] or found["error"]
        codes.append(code)
    return codes


class TestSeal:
    def test_makes_a_key_in_the_configuration_directory(self, cli, folder):
        change(folder, "DELETE FROM seals", "DELETE FROM seal_contents")
        code, out, _ = cli("audit", "seal")
        key = folder / "config" / "marigraph" / "seal-key.pem"
        assert code == INTACT
        assert f"made a signing key in {key}" in out
        assert key.stat().st_mode & 0o777 == 0o600
        assert cli("audit", "seal")[1] == "there is nothing new to seal\n"
        code, found, _ = cli("audit", "verify", "--json")
        assert found["error"] is None
        assert found["sealed_events"] == found["events"]

    def test_appends_to_the_copy_what_it_lacks(self, cli, folder):
        lines = (folder / "seals.jsonl").read_text().splitlines()
        (folder / "seals.jsonl").write_text(lines[0] + "\n" + lines[1][:50])  # whoever wrote the second one died
        code, found, _ = cli("audit", "seal", "--key", "key.pem", "--export", "seals.jsonl", "--json")
        assert code == INTACT
        assert len(found["seals"]) == 1
        assert (folder / "seals.jsonl").read_text().splitlines()[:-1] == lines
        assert cli("audit", "seals", "export", "seals.jsonl", "--json")[1]["seals"] == 0
        assert cli("audit", "seals", "list", "--json")[1]["count"] == len(lines) + 1
        assert len(cli("audit", "seals", "list")[1].splitlines()) == len(lines) + 2

    def test_refuses_the_copy_of_another_database(self, cli, folder):
        line = json.loads((folder / "seals.jsonl").read_text().splitlines()[0])
        (folder / "seals.jsonl").write_text(json.dumps({**line, "created_at": 1}) + "\n")
        code, _, err = cli("audit", "seal", "--key", "key.pem", "--export", "seals.jsonl")
        assert code == NOT_CHECKED
        assert "no copy of this database's seals" in err

    def test_refuses_keys_that_are_none_or_not_there(self, cli):
        assert "no signing key" in cli("audit", "seal", "--key", "nope.pem")[2]
        assert "chmod 600" in cli("audit", "seal", "--key", "key.pem.pub")[2]
        assert "never overwritten" in cli("audit", "key", "key.pem")[2]

    def test_is_done_by_a_server_that_is_told_how_often(self, folder):
        settings = Settings(
            str(folder / "marigraph.db"),
            seals=Seals(str(folder / "key.pem"), every_seconds=0.01, export=str(folder / "seals.jsonl")),
        )
        before = len((folder / "seals.jsonl").read_text().splitlines())
        with Marigraph(str(folder / "marigraph.db")) as ml:
            sealer = Sealer(ml.application.store, settings)
            sealer.start()
            deadline = time.monotonic() + 20
            while len((folder / "seals.jsonl").read_text().splitlines()) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            sealer.stop()
            [_, *others] = ml.get_audit_seals()["seals"]
        assert len(others) == before
        assert not Sealer(ml.application.store, Settings("x"))._thread


def test_a_server_verifies_a_job_and_lists_seals(folder):
    with client_of(str(folder / "marigraph.db")) as client:
        found = client.get("/_audit/verify/web").json()
        assert (found["ok"], found["streams"]) == (True, 1)
        assert client.get("/_audit/verify/nope").status_code == 404
        [newest] = client.get("/_audit/seals?size=1&from=1").json()["seals"]
        assert newest["id"] == 2


class TestExport:
    @pytest.fixture
    def export(self, cli, folder):
        code, found, _ = cli("audit", "export", "web", "web.zip", "--key", "key.pem", "--script", "--json")
        assert code == INTACT
        assert (found["is_signed"], found["payloads"]) == (True, 3)
        assert 0 < found["sealed_events"] < found["events"]
        return folder / "web.zip"

    @pytest.fixture
    def check(self, export, folder, capsys):
        """Verify a changed copy of the export: (exit code, what was printed)."""

        def run(changes=None, key="key.pem.pub"):
            copy = folder / "copy.zip"
            with zipfile.ZipFile(export) as source, zipfile.ZipFile(copy, "w") as target:
                for name in source.namelist():
                    content = source.read(name)
                    content = (changes or {}).get(name, lambda same: same)(content)
                    if content is not None:
                        target.writestr(name, content)
            code = verify_export.main([str(copy), "--public-key", str(folder / key)])
            return code, capsys.readouterr().out

        return run

    def test_is_verified_by_its_script_without_marigraph(self, export, folder):
        imports = re.findall(r"^ *(?:import|from) (\w+)", (folder / "verify_export.py").read_text(), re.MULTILINE)
        assert set(imports) - set(sys.stdlib_module_names) == {"cryptography"}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_MARIGRAPH, "verify_export.py", "web.zip", "--public-key", "key.pem.pub"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (INTACT, "")
        assert "events of job-web" in done.stdout
        assert "not sealed yet" in done.stdout

    def test_is_intact_as_it_was_written(self, check):
        code, out = check()
        assert code == INTACT, out

    def test_every_change_of_an_event_is_found_and_named(self, check):
        values = {
            "position": 99, "version": 7, "type": "x", "schema_version": 2, "recorded_at": 5, "actor": None,
            "request_id": "x", "cause": "x", "command_id": "x", "command_index": 3, "data": "{}",
            "payload_digest": None, "hash": "00" * 32, "codec": "x", "seal": 2, "proof": [],
        }  # fmt: skip
        for name, value in values.items():
            code, out = check({"events.jsonl": edited(2, **{name: value})})
            assert code == TAMPERED, name
            assert "version 3" in out or name == "version", (name, out)

    def test_missing_moved_and_cut_off_events_are_found(self, check):
        assert "version 3 is missing" in check({"events.jsonl": lambda text: joined(without(lines(text), 2))})[1]
        assert "version 3 is missing" in check({"events.jsonl": swapped})[1]
        code, out = check({"events.jsonl": lambda text: joined(lines(text)[:-1])})
        assert (code, "is missing" in out) == (TAMPERED, True)

    def test_an_end_that_was_cut_off_with_its_count_is_found_by_the_signature(self, check, export):
        with zipfile.ZipFile(export) as archive:
            events = joined(lines(archive.read("events.jsonl"))[:-1])
            head = json.loads(archive.read("export.json"))
        forged = {**head, "events": head["events"] - 1, "events_sha256": sha256(events).hexdigest()}
        changes = {"events.jsonl": lambda _: events, "export.json": lambda _: json.dumps(forged).encode()}
        assert "export.json is not signed" in check(changes)[1]
        code, out = check({**changes, "export.sig": lambda _: None})
        assert code == INTACT
        assert "may have been left out" in out

    def test_changed_and_missing_payloads_are_found(self, check, export):
        with zipfile.ZipFile(export) as archive:
            name = next(name for name in archive.namelist() if name.startswith("payloads/"))
        assert check({name: lambda body: body[:-1] + b"x"})[0] == TAMPERED
        code, out = check({name: lambda _: None})
        assert (code, "the payload is missing" in out) == (TAMPERED, True)

    def test_changed_seals_and_keys_are_found(self, check, folder):
        for name, value in {"merkle_root": "00" * 32, "created_at": 1, "last_position": 9, "id": 7}.items():
            code, out = check({"seals.jsonl": edited(0, **{name: value})})
            assert (code, "seal 1" in out) == (TAMPERED, True)
        SigningKey.make().write(folder / "other.pem")
        code, out = check(key="other.pem.pub")
        assert (code, out) == (TAMPERED, "TAMPERED: seal 1 is not signed by this key\n")

    def test_what_is_no_export_or_no_key_is_told_in_one_line(self, check, folder, capsys):
        (folder / "no.zip").write_bytes(b"x")
        key = ["--public-key", str(folder / "key.pem.pub")]
        assert verify_export.main([str(folder / "no.zip"), *key]) == TAMPERED
        assert verify_export.main([str(folder / "gone.zip"), *key]) == NOT_CHECKED
        assert verify_export.main([str(folder / "no.zip"), "--public-key", str(folder / "seals.jsonl")]) == NOT_CHECKED
        assert capsys.readouterr().out.count("\n") == 3
        assert check({"export.json": lambda _: b"[]"})[0] == TAMPERED

    def test_refuses_what_does_not_verify(self, cli, folder):
        change(folder, "UPDATE events SET actor = 'nobody' WHERE version = 3")
        code, _, err = cli("audit", "export", "web", "web.zip", "--key", "key.pem")
        assert (code, "do not verify" in err) == (NOT_CHECKED, True)
        assert not (folder / "web.zip").exists()

    def test_overwrites_no_file_and_knows_its_jobs(self, cli, export):
        assert "exists already" in cli("audit", "export", "web", export)[2]
        assert "No known job" in cli("audit", "export", "nope", "nope.zip")[2]

    def test_says_which_payloads_are_no_longer_kept(self, cli, folder, check):
        with Marigraph(str(folder / "marigraph.db")) as ml:
            ml.delete_job("web")
        os.remove(folder / "web.zip")
        assert cli("audit", "export", "web", "web.zip", "--key", "key.pem", "--json")[1]["payloads"] == 0
        code, out = check()
        assert (code, "3 no longer kept" in out) == (INTACT, True)


WITHOUT_MARIGRAPH = """
import runpy, sys
for name in ("marigraph", "eventstore", "domain"):
    sys.modules[name] = None  # importing it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def lines(content):
    return content.splitlines(keepends=True)


def joined(parts):
    return b"".join(parts)


def without(parts, place):
    return parts[:place] + parts[place + 1 :]


def swapped(content):
    parts = lines(content)
    parts[2], parts[3] = parts[3], parts[2]
    return joined(parts)


def edited(place, **values):
    def edit(content):
        parts = lines(content)
        parts[place] = json.dumps({**json.loads(parts[place]), **values}).encode() + b"\n"
        return joined(parts)

    return edit


def test_the_commands_of_the_documentation_run(cli, folder):
    text = (Path(__file__).resolve().parents[2] / "docs" / "proof.md").read_text()
    [block] = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    shutil.copyfile(folder / "key.pem.pub", folder / "seal-key.pem.pub")
    ran = []
    for line in block.splitlines():
        words = shlex.split(line.replace("/mnt/elsewhere", str(folder / "elsewhere")), comments=True)
        (folder / "elsewhere").mkdir(exist_ok=True)
        if words[0] == "marigraph":
            key = ["--key", "key.pem"] if words[2] in ("seal", "export") else []
            known = [] if "--public-key" in words or key else ["--public-key", "seal-key.pem.pub"]
            assert cli(*words[1:], *key, *known)[0] == INTACT
        else:
            assert verify_export.main(words[2:]) == INTACT
        ran.append(words[0])
    assert ran == ["marigraph"] * 4 + ["python"]


def test_settings_say_how_often_a_server_seals():
    assert Settings.read({"MARIGRAPH_SEAL_EVERY": "10m"}).seals == Seals(None, 600.0, None)
    assert Settings.read({}).seals == Seals()
    with pytest.raises(InvalidArgument, match="MARIGRAPH_SEAL_EVERY"):
        Settings.read({"MARIGRAPH_SEAL_EVERY": "often"})
