"""What is text in a message, and what is a value."""

from __future__ import annotations

import re

import pytest

from domain.categories.tokens import MESSAGE_LENGTH_MAX, TOKEN_COUNT_MAX, Tokenizer, first_line


def tokens(message: str) -> str:
    return " ".join(Tokenizer().tokens(message))


@pytest.mark.parametrize(
    "value",
    [
        "17",
        "-3.5e7",
        "0xdeadbeef",
        "deadbeef",
        "550e8400-e29b-41d4-a716-446655440000",
        "10.1.2.3:8080",
        "fe80::1ff:fe23%eth0",
        "dead:beef::cafe",
        "aa:bb:cc:dd:ee:ff",
        "/var/log/messages",
        "C:\\Windows\\system.ini",
        "CORP\\bob",
        "https://example.com/a?b=c",
        "bob@example.com",
        "mail.example.com",
        "report.pdf",
        '"not found"',
        "'not found'",
        "`not found`",
        "35ms",
        "35 ms",
        "(null)",
        "2024-05-01T10:00:00.123Z",
        "x" * 65,
    ],
)
def test_values_are_no_tokens(value: str) -> None:
    assert tokens(f"removed {value} again") == "removed again"


def test_of_key_value_pairs_the_keys_stay() -> None:
    assert tokens("user=bob, uid=0;tty= opts=[a b] (gid=5)") == "user= uid= tty= opts= gid="


def test_the_message_of_a_structured_line_is_what_counts() -> None:
    assert tokens('{"level":"info","msg":"user \\"bob\\" logged in","id":"x y"}') == "user logged in"
    assert tokens('ts=5 level=info msg="user logged in" user=bob') == "user logged in"


def test_a_structured_line_without_a_message_is_told_by_its_keys() -> None:
    assert tokens('{"kind": "open door", "user": {"id": 3}}') == "kind user id"


def test_only_the_first_line_that_has_something_counts() -> None:
    assert tokens("\n\nTraceback called:\n  File main") == "Traceback called"


def test_dates_levels_in_brackets_and_units_are_dropped() -> None:
    assert tokens("Mon Oct 22 15:02:19 CEST [error] waited 5 seconds, then 3 kB") == "waited then"


def test_one_of_a_thing_is_spelled_as_many() -> None:
    assert tokens("read 1 file") == tokens("read 3 files") == "read file"


def test_what_a_state_is_and_what_a_service_is_called_are_values() -> None:
    assert tokens("job state changed from running to stopped") == "job state changed from to"
    assert tokens("service cache restarted") == "service restarted"
    assert tokens("user state table not found") == "user state not found"


def test_statements_and_commands_run_to_the_end() -> None:
    assert tokens("slow query: SELECT name FROM people WHERE open") == "slow query"
    assert tokens("sudo: USER=root ; COMMAND=/bin/systemctl start it now") == "sudo USER= COMMAND="


def test_scripts_without_spaces_are_read_letter_by_letter() -> None:
    assert tokens("用户17登录/etc/passwd失败") == "用 户 登 录 失 败"


def test_where_all_would_be_dropped_more_is_kept() -> None:
    assert tokens('10.0.0.1 "GET /x HTTP/1.0" 200') == "HTTP"
    assert tokens('"disk full"') == "disk full"
    assert tokens("12 34") == ""


@pytest.mark.parametrize(
    "head",
    [
        "2024-05-01 10:00:00,123 INFO [main] ",
        "2024-05-01 10:00:00,123 WARN [http-nio-8080-exec-5] ",
        "2024-05-01 10:00:00.123  INFO 4711 --- [           main] ",
        "2024/05/01 10:00:00 [error] ",
        "2024-05-01T10:00:00.123Z [pool-1-thread-2] DEBUG - ",
        "[2024-05-01 10:00:00 +0000] [17] [INFO] ",
    ],
)
def test_what_a_logging_library_writes_before_a_text_is_no_text(head: str) -> None:
    assert tokens(head + "shop.Orders: order 17 shipped") == "shop.Orders order shipped"


def test_a_severity_that_begins_a_text_and_a_tag_in_brackets_are_text() -> None:
    assert tokens("ERROR in contacting host") == "ERROR in contacting host"
    assert tokens("[instance: 4-5] instance destroyed") == "instance instance destroyed"


def test_lines_of_an_access_log_are_alike_whoever_asks() -> None:
    line = '10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET /a?b=c HTTP/1.1" 200 17 "-" '
    assert tokens(line + '"Mozilla/5.0 (X11; Linux)"') == tokens(line + '"curl/7.68.0"') == "HTTP"


def test_quoted_names_are_keys_in_objects_only() -> None:
    assert tokens('autovacuum: table "shop.orders": scans: 1') == "autovacuum table scan"


def test_filters_take_out_what_they_match() -> None:
    tokenizer = Tokenizer([re.compile("<.*?>"), re.compile("x*")])
    assert tokenizer.tokens("one<secret thing>two three") == ("one", "two", "three")


def test_long_messages_are_cut() -> None:
    assert len(first_line("a" * 10_000)) == MESSAGE_LENGTH_MAX
    assert len(Tokenizer().tokens("open " * 10_000)) == TOKEN_COUNT_MAX
