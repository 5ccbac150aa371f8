import os

import pytest

from marigraph import capacity

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", MACHINE), (f"{512 * 2**20}", 512), (f"{2**62}", MACHINE), (None, MACHINE)]
)
def test_the_memory_is_that_of_the_machine_or_what_its_container_has_of_it(monkeypatch, tmp_path, limit, expected):
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(f"{limit}\n")
    monkeypatch.setattr(capacity, "CONTROL_GROUP", path)
    assert capacity.memory_mib() == expected


def test_a_system_that_does_not_say_how_much_there_is_is_believed_to_have_any(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert capacity.memory_mib() is None
