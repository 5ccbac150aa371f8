"""Tokens: one per value, in the order of the values, as long as they are."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from marigraph.bundles.tokens import draw_tokens

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.sets(texts, max_size=40), st.integers(0, 2**32))
def test_tokens_are_different_ordered_and_none_of_the_values(values, seed):
    tokens = draw_tokens(values, random.Random(seed))
    assert set(tokens) == values
    ordered = [tokens[value] for value in sorted(values)]
    assert ordered == sorted(set(ordered))
    assert values.isdisjoint(ordered)


@settings(max_examples=60, deadline=None)
@given(st.sets(texts.filter(lambda text: len(text.encode()) >= 4), max_size=40))
def test_tokens_take_as_many_bytes_as_values_that_are_not_very_short(values):
    assert all(len(token) == len(value.encode()) for value, token in draw_tokens(values).items())


def test_two_bundles_have_other_tokens():
    values = [f"customer {number}" for number in range(50)]
    assert draw_tokens(values) != draw_tokens(values)


def test_as_many_values_as_there_are_short_texts_have_tokens():
    values = [chr(number) for number in range(33, 127)]
    tokens = draw_tokens(values)
    assert len(set(tokens.values())) == len(values)
