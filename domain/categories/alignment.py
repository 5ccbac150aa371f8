"""How far a message is from a category, and what the two have in common: weighted edit distance with wildcards.

A category's slots are constants (tokens that every message of it has, in this order) and wildcards, each of which
takes one token or none. A difference costs by the kinds of the tokens (:mod:`domain.categories.vocabulary`): two
unknown words are cheap, two verbs are forbidden. Dynamic programming after Wagner and Fischer (1974), on what lies
between the common start and the common end.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from domain.categories.vocabulary import HARD, SOFT, STRONG, WEAK, WEIGHTS, kind_of

Slot = str | None
"""A constant, or None for a wildcard."""

FORBIDDEN: Final = 1_000_000
"""Cost of what makes messages different, whatever else they share."""

_SUBSTITUTION: Final = (
    # by kind:  WEAK       SOFT       STRONG     HARD
    (1, 2, 3, FORBIDDEN),
    (2, 10, 10, FORBIDDEN),
    (3, 10, FORBIDDEN, FORBIDDEN),
    (FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN),
)
"""Cost of one token in place of another: at least half of the weight of either, on which the index relies.
Two nouns cost what only a message of many words can afford; a known word against an unknown one about half of its own
weight, as names of users and services may happen to be words."""
_INSERTION: Final = (1, 8, FORBIDDEN, FORBIDDEN)
"""Cost of one token more or less: text is not optional, an unknown word may be."""
_WILDCARD: Final = (0, 0, 1, FORBIDDEN)
"""Cost of a token at a wildcard."""


@lru_cache(maxsize=20_000)
def kind(token: str) -> int:
    """Return the kind of a token, remembered."""
    return kind_of(token)


def weight(tokens: Sequence[Slot]) -> int:
    """Return the summed weight of the constants among tokens."""
    return sum(WEIGHTS[kind(token)] for token in tokens if token is not None)


def skeleton(tokens: Sequence[Slot]) -> tuple[str, ...]:
    """Return the tokens that messages of one category all have alike: those that may neither change nor go."""
    return tuple(token for token in tokens if token is not None and kind(token) == HARD)


def distance(slots: Sequence[Slot], tokens: Sequence[str], limit: int) -> int:
    """Return what the differences between a category and a message cost.

    Parameters
    ----------
    slots : sequence of (str or None)
    tokens : sequence of str
    limit : int
        Costs above it need not be exact: `FORBIDDEN` may come back for them.

    Examples
    --------
    >>> distance(["user", None, "logged", "in"], ["user", "bob", "logged", "in"], 10)
    0
    >>> distance(["user", "bob", "logged", "in"], ["user", "alice", "logged", "in"], 10)
    1
    """
    start, slots_end, tokens_end = _between(slots, tokens)
    rows = _table(slots[start:slots_end], tokens[start:tokens_end], limit)
    return rows[-1][-1] if rows else FORBIDDEN


def merge(slots: Sequence[Slot], tokens: Sequence[str]) -> list[Slot]:
    """Return slots that fit both what the given slots fit and a message: every difference becomes a wildcard.

    >>> merge(["user", "bob", "logged", "in"], ["user", "alice", "logged", "in"])
    ['user', None, 'logged', 'in']
    """
    start, slots_end, tokens_end = _between(slots, tokens)
    inner = _merged(slots[start:slots_end], tokens[start:tokens_end])
    return [*slots[:start], *inner, *slots[slots_end:]]


def _between(slots: Sequence[Slot], tokens: Sequence[str]) -> tuple[int, int, int]:
    """Return where the common start ends, and where in either the common end starts."""
    shorter = min(len(slots), len(tokens))
    start = 0
    while start < shorter and slots[start] == tokens[start]:
        start += 1
    end = 0
    while end < shorter - start and slots[-1 - end] == tokens[-1 - end]:
        end += 1
    return start, len(slots) - end, len(tokens) - end


def _table(slots: Sequence[Slot], tokens: Sequence[str], limit: int) -> list[list[int]]:
    """Return the cost of each start of the slots against each start of the tokens; empty if all exceed the limit."""
    kinds = [kind(token) for token in tokens]
    row = [0]
    for token_kind in kinds:
        row.append(row[-1] + _INSERTION[token_kind])
    rows = [row]
    for slot in slots:
        above, row = row, []
        left = above[0]
        slot_kind = WEAK if slot is None else kind(slot)
        removal = 0 if slot is None else _INSERTION[slot_kind]
        costs = _WILDCARD if slot is None else _SUBSTITUTION[slot_kind]
        best = above[0] + removal
        row.append(best)
        cheapest = best
        for place, token_kind in enumerate(kinds):
            corner, left = left, above[place + 1]
            changed = corner + (0 if slot == tokens[place] else costs[token_kind])
            best = min(changed, left + removal, best + _INSERTION[token_kind])
            row.append(best)
            cheapest = min(cheapest, best)
        if cheapest > limit:
            return []
        rows.append(row)
    return rows


def _merged(slots: Sequence[Slot], tokens: Sequence[str]) -> list[Slot]:
    """Return the merged slots by walking the table back; of equal ways, first a pair, then a slot without a token."""
    rows = _table(slots, tokens, FORBIDDEN * (len(slots) + len(tokens) + 1))
    merged: list[Slot] = []
    i, j = len(slots), len(tokens)
    while i or j:
        slot = slots[i - 1] if i else None
        if i and j and rows[i][j] == rows[i - 1][j - 1] + _pair_cost(slot, tokens[j - 1]):
            merged.append(slot if slot == tokens[j - 1] else None)
            i, j = i - 1, j - 1
            continue
        if i and rows[i][j] == rows[i - 1][j] + (0 if slot is None else _INSERTION[kind(slot)]):
            i -= 1
        else:
            j -= 1
        merged.append(None)
    merged.reverse()
    return merged


def _pair_cost(slot: Slot, token: str) -> int:
    if slot is None:
        return _WILDCARD[kind(token)]
    return 0 if slot == token else _SUBSTITUTION[kind(slot)][kind(token)]


assert all(
    2 * _SUBSTITUTION[a][b] >= WEIGHTS[a] and 2 * _INSERTION[a] >= WEIGHTS[a]
    for a in (WEAK, SOFT, STRONG, HARD)
    for b in (WEAK, SOFT, STRONG, HARD)
)
