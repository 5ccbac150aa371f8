"""Owners: told apart, and known to be dead only when they surely are."""

import subprocess
import sys

from marigraph.ownership import Owner, new_owner


def test_an_owner_survives_being_written_and_read():
    owner = new_owner()
    assert Owner.parse(str(owner)) == owner


def test_two_applications_of_one_process_are_two_owners():
    assert new_owner() != new_owner()


def test_this_process_is_alive():
    assert not new_owner().is_dead()


def test_a_process_that_ended_is_dead():
    code = "from marigraph.ownership import new_owner; print(new_owner())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Owner.parse(ended.stdout.strip()).is_dead()


def test_a_reused_process_id_is_not_taken_for_the_owner():
    me = new_owner()
    assert Owner(me.host, me.pid, "1", 1).is_dead()


def test_an_owner_on_another_host_is_never_called_dead():
    assert not Owner("elsewhere", 1, "1", 1).is_dead()


def test_foreign_text_is_no_owner():
    for text in ("", "a/b", "host/x/1/1", "host/1/1/1/1"):
        assert Owner.parse(text) is None
