"""Secrets: what is kept of them, and that checking costs what it should."""

import pytest

from domain.errors import BadRequest
from marigraph.credentials import (
    PASSWORD_COST,
    ScryptCost,
    is_right,
    make_key,
    password_verifier,
    secret_verifier,
    unmatched_verifier,
)

CHEAP = ScryptCost(2**4, 1, 1)


def test_a_password_is_right_or_not():
    verifier = password_verifier("correct horse", CHEAP)
    assert is_right(verifier, "correct horse")
    assert not is_right(verifier, "correct horsf")


def test_equal_passwords_have_unequal_verifiers():
    assert password_verifier("correct horse", CHEAP) != password_verifier("correct horse", CHEAP)


def test_a_verifier_holds_nothing_of_the_secret():
    made = make_key()
    assert made.secret.encode() not in secret_verifier(made.secret)
    assert b"correct" not in password_verifier("correct horse", CHEAP)


def test_keys_have_256_random_bits_and_are_never_the_same():
    assert len(make_key().secret) >= 256 / 6
    assert make_key() != make_key()


def test_passwords_cost_what_is_recommended():
    assert PASSWORD_COST.n * PASSWORD_COST.r * PASSWORD_COST.p >= 2**15 * 8 * 3
    assert password_verifier("correct horse").startswith(b"scrypt$32768$8$3$")


def test_nobody_fits_the_verifier_of_nobody_and_it_costs_the_same():
    assert unmatched_verifier().split(b"$")[:4] == password_verifier("correct horse").split(b"$")[:4]
    assert not is_right(unmatched_verifier(CHEAP), "")


@pytest.mark.parametrize("password", ["", "short", "x" * 1_025])
def test_passwords_have_a_length(password):
    with pytest.raises(BadRequest):
        password_verifier(password, CHEAP)


@pytest.mark.parametrize("verifier", [b"", b"sha256", b"md5$00", b"scrypt$a$b$c$d$e", b"scrypt$16$1$1$zz$00", b"\xff"])
def test_what_is_no_verifier_is_right_for_nothing(verifier):
    assert not is_right(verifier, "correct horse")


def test_a_verifier_that_asks_for_gigabytes_is_not_computed():
    assert not is_right(b"scrypt$1048576$8$1$00$00", "correct horse")
