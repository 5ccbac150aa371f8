"""One change to a sealed database, whatever it is, is found and named; normal use never raises an alarm."""

import shutil
from collections import Counter

import pytest

from eventstore.signing import SigningKey
from marigraph.proof.verification import Request, verify_database
from marigraph.settings import Settings
from tests.support.lives import Life
from tests.support.tampering import tampered_copy

KEY = SigningKey.make()
FAST, SLOW = 40, 1_000
STEPS = 100
LIVES, STEPS_OF_A_LIFE = 25, 40


@pytest.fixture(scope="module")
def sealed(sqlite_template, tmp_path_factory):
    """A file in which much happened, the newest event included in a seal; nothing has it open."""
    path = tmp_path_factory.mktemp("sealed") / "marigraph.db"
    shutil.copyfile(sqlite_template, path)
    life = Life(f"sqlite:///{path}", KEY, seed=7, export=path.with_name("seals.jsonl"))
    life.begin()
    for _ in range(STEPS):
        life.step()
    life.seal()
    life.close()
    return path


@pytest.fixture
def public_key(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(KEY.key_id)
    return path


def verified(path, public_key, **more):
    return verify_database(Settings(str(path)), Request(public_keys=[public_key], **more))


def check_tampering(sealed, folder, public_key, seeds, **more):
    missed, kinds = [], Counter()
    for seed in seeds:
        change = tampered_copy(sealed, folder / "copy.db", seed)
        kinds[change.what.split(" in row")[0].split(" at ")[0]] += 1
        found = verified(folder / "copy.db", public_key, **more)["first_bad"]
        if found is None or not change.is_named_by(found):
            missed.append((seed, change, found))
    assert missed == []
    return kinds


def test_the_sealed_database_is_intact(sealed, public_key):
    found = verified(sealed, public_key, kept_seals=sealed.with_name("seals.jsonl"))
    assert found["ok"], found
    assert found["sealed_events"] == found["events"] > 40
    assert found["payloads"] > 5
    assert found["payloads_dropped"] > 0
    assert found["seals"] > 1


def test_single_changes_are_found_and_named(sealed, tmp_path, public_key):
    check_tampering(sealed, tmp_path, public_key, range(FAST))


@pytest.mark.slow
def test_a_thousand_single_changes_are_found_and_named(sealed, tmp_path, public_key):
    kinds = check_tampering(sealed, tmp_path, public_key, range(10_000, 10_000 + SLOW))
    print(f"{SLOW} changes: {len(kinds)} kinds")


@pytest.mark.slow
def test_a_thousand_single_changes_are_found_against_kept_seals(sealed, tmp_path, public_key):
    check_tampering(
        sealed, tmp_path, public_key, range(20_000, 20_000 + SLOW), kept_seals=sealed.with_name("seals.jsonl")
    )


def check_life(url, public_key, seed, n_steps):
    """Verify after each step of a life; return how often."""
    life = Life(url, KEY, seed)
    try:
        life.begin()
        for _ in range(n_steps):
            what = life.step()
            found = verified(url, public_key)
            assert found["ok"], (seed, what, found)
    finally:
        life.close()
    return n_steps


def test_normal_use_raises_no_alarm(database_url, public_key):
    check_life(database_url, public_key, seed=3, n_steps=25)


@pytest.mark.slow
def test_a_thousand_states_of_normal_use_raise_no_alarm(sqlite_template, tmp_path, public_key):
    n_states = 0
    for seed in range(100, 100 + LIVES):
        path = tmp_path / f"life-{seed}.db"
        shutil.copyfile(sqlite_template, path)
        n_states += check_life(str(path), public_key, seed, STEPS_OF_A_LIFE)
    assert n_states == LIVES * STEPS_OF_A_LIFE == 1_000
