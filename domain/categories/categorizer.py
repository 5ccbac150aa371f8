"""Groups messages into categories as they come: each message gets the id of its category, for good.

A message goes to the category that it differs least from, when it differs little enough; of equals to the one with
the least in common, then to the oldest. Otherwise it starts a category. Joining, it takes from the category what it
does not share. The ids depend on the messages and their order alone: not on how they were cut into calls, nor on
where the state was saved and restored. Knows nothing of jobs, fields, partitions or times.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from domain.categories.alignment import FORBIDDEN, Slot, distance, kind, merge, skeleton, weight
from domain.categories.budget import Budget
from domain.categories.category import Category
from domain.categories.index import Index
from domain.categories.quality import category_counts
from domain.categories.tokens import TOKEN_COUNT_MAX, Tokenizer, Tokenizes, Tokens
from domain.categories.vocabulary import WEIGHTS

NO_CATEGORY: Final = 0
"""The id of a message for which there was no room for a category."""
CATEGORY_COUNT_MAX: Final = 5_000
"""Categories of one categorizer. Chosen: beyond some thousands they are no longer read by people, and about 10 MB."""
EXAMPLES_LIMIT: Final = 4
"""Examples kept per category unless told otherwise; the default of the API."""

_COST_SHARE_PERCENT: Final = 30
"""Share of a category's weight that the differences of a message may cost, as in the reference."""
_KEPT_SHARE_PERCENT: Final = 50
"""Share of its first message's weight that a category always keeps. Without it, categories of unknown words would lose
a few with each message until they fit everything."""
_COMPARED_COUNT_MAX: Final = 64
"""Categories that a message is compared with, the oldest of those that have enough of its tokens. Chosen: real logs
never get there; it bounds the time that hostile messages take."""
_SLOT_COUNT_MAX: Final = 2 * TOKEN_COUNT_MAX
KNOWN_COUNT_MAX: Final = 50_000
"""Token sequences whose category is remembered."""
_FITS: Final = -1
_STATE_VERSION: Final = 1


class Categorizer:
    """Streaming categorization of messages.

    Parameters
    ----------
    filters : sequence of str
        Regular expressions; what matches them is taken out of a message before anything else.
    tokenizer : Tokenizes, optional
        Instead of the one with the filters.
    budget : Budget, optional
        Account of the memory; a category that it has no room for is not made.
    known_count_max : int
        Token sequences whose category is remembered.
    examples_limit : int
        Examples kept per category.
    category_count_max : int
        Categories after which no new ones are made.

    Raises
    ------
    ValueError
        When a filter is no regular expression.

    Examples
    --------
    >>> categorizer = Categorizer()
    >>> categorizer.categorize(["user bob logged in", "disk 7 is full", "user alice logged in"])
    [1, 2, 1]
    >>> categorizer.resource(1)["regex"]
    '.*?user.+?logged.+?in.*'
    """

    def __init__(
        self,
        filters: Sequence[str] = (),
        *,
        tokenizer: Tokenizes | None = None,
        budget: Budget | None = None,
        known_count_max: int = KNOWN_COUNT_MAX,
        examples_limit: int = EXAMPLES_LIMIT,
        category_count_max: int = CATEGORY_COUNT_MAX,
    ) -> None:
        self._tokenizer = tokenizer or Tokenizer.of(filters)
        self._budget = budget or Budget()
        self._known_count_max = known_count_max
        self._message_count = 0
        self._examples_limit = examples_limit
        self._category_count_max = category_count_max
        self._categories: list[Category] = []
        self._failed_count = 0
        self._index = Index()
        self._change_count = 0
        self._known: dict[Tokens, tuple[int, int, int]] = {}
        self._touched: dict[int, None] = {}
        self._preferences: tuple[int, dict[int, list[int]]] = (-1, {})

    def categorize(self, messages: Sequence[str]) -> list[int]:
        """Return the category id of each message, in order; `NO_CATEGORY` where there is no room for another."""
        return [self.category_of(message) for message in messages]

    def category_of(self, message: str) -> int:
        """Return the category id of the next message."""
        tokens = self._tokenizer.tokens(message)
        known = self._known.get(tokens)
        if known is not None and known[1] == self._change_count and known[2] in (_FITS, len(self._categories)):
            category = self._categories[known[0] - 1]
        else:
            found = self._find(tokens) or self._create(tokens)
            if found is None:
                self._failed_count += 1
                return NO_CATEGORY
            category = found
            self._remember(tokens, category)
        category.match_count += 1
        self._message_count += 1
        category.longest_match = max(category.longest_match, len(message))
        if len(category.examples) < self._examples_limit:
            self._budget.add(category.add_example(message))
        self._touched[category.id] = None
        return category.id

    def _remember(self, tokens: Tokens, category: Category) -> None:
        """Note the category of a token sequence for as long as no other can have become better for it.

        That may happen whenever a category becomes more general; when a new one appears, only to messages that differ
        from theirs, since to those that do not, a new category is no closer and has more in common.
        """
        if len(self._known) >= self._known_count_max:
            self._known.clear()
        fits = distance(category.slots, tokens, 0) == 0
        self._known[tokens] = (category.id, self._change_count, _FITS if fits else len(self._categories))

    def _find(self, tokens: Tokens) -> Category | None:
        """Return the category that a message belongs to, made as general as the message asks for."""
        for _, _, category_id in self._ranked(tokens):
            category = self._categories[category_id - 1]
            slots = merge(category.slots, tokens)
            if slots == category.slots:
                return category
            kept = weight(slots)
            if len(slots) <= _SLOT_COUNT_MAX and kept * 100 >= category.first_weight * _KEPT_SHARE_PERCENT:
                self._budget.add(category.generalise(slots))
                self._index.put(category.id, slots, 2 * _cost_limit(category.weight))
                self._change_count += 1
                return category
        return None

    def _ranked(self, tokens: Tokens) -> list[tuple[int, int, int]]:
        """Return (cost, weight, id) of the categories that are close enough to a message, the best first."""
        present = frozenset(tokens)
        ranked, compared = [], 0
        for category_id in self._index.candidates(tokens, skeleton(tokens)):
            category = self._categories[category_id - 1]
            limit = _cost_limit(category.weight)
            if _weight_missing(category.slots, present) > 2 * limit:
                continue
            compared += 1
            if compared > _COMPARED_COUNT_MAX:
                break
            cost = distance(category.slots, tokens, limit)
            if cost <= limit and (tokens or not category.slots):
                ranked.append((cost, category.weight, category_id))
        ranked.sort()
        return ranked

    def _create(self, tokens: Tokens) -> Category | None:
        if len(self._categories) >= self._category_count_max:
            return None
        category = Category(len(self._categories) + 1, list(tokens), weight(tokens))
        if not self._budget.take(category.size_bytes):
            return None
        self._categories.append(category)
        self._index.put(category.id, category.slots, 2 * _cost_limit(category.weight))
        return category

    @property
    def message_count(self) -> int:
        """Messages that got a category."""
        return self._message_count

    @property
    def category_count(self) -> int:
        """Categories so far; their ids are 1 to this."""
        return len(self._categories)

    def resource(self, category_id: int) -> dict[str, Any]:
        """Return a category as the API shows it, without the job's id.

        Raises
        ------
        IndexError
            When there is no such category.
        """
        if not 1 <= category_id <= len(self._categories):
            reason = f"expected a category id from 1 to {len(self._categories)}, got {category_id}"
            raise IndexError(reason)
        return self._categories[category_id - 1].resource(self._preferred().get(category_id, []))

    def resources(self) -> list[dict[str, Any]]:
        """Return all categories as the API shows them, by id."""
        return [self.resource(category.id) for category in self._categories]

    def take_touched(self) -> list[int]:
        """Return the ids of categories that got messages since this was last asked, ascending.

        It is no part of the state: after `restore` it starts empty.
        """
        touched = sorted(self._touched)
        self._touched.clear()
        return touched

    def counts(self) -> dict[str, Any]:
        """Return the fields of ``model_size_stats`` that tell of categories."""
        dead = {each for others in self._preferred().values() for each in others}
        return category_counts(self._categories, len(dead), self._failed_count)

    @property
    def size_bytes(self) -> int:
        """About what the categories take in memory; the caches, which are bounded, left out."""
        return sum(category.size_bytes for category in self._categories)

    def _preferred(self) -> dict[int, list[int]]:
        """Return, per category that stands in for others, their ids: whatever fits them now goes to it."""
        moment = self._change_count + len(self._categories)
        if self._preferences[0] != moment:
            found: dict[int, list[int]] = {}
            for category in self._categories:
                if category.slots:
                    for category_id in self._standing_in_for(category):
                        found.setdefault(category_id, []).append(category.id)
            self._preferences = (moment, found)
        return self._preferences[1]

    def _standing_in_for(self, category: Category) -> list[int]:
        """Return the categories that take every message of a category before it can."""
        terms = category.terms
        rank = (category.weight, category.id)
        return [
            other.id
            for other in (self._categories[i - 1] for i in self._index.candidates(terms, skeleton(terms)))
            if (other.weight, other.id) < rank and other.slots and _covers(other.slots, category.slots)
        ]

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, of types that JSON and MessagePack have."""
        return {
            "version": _STATE_VERSION,
            "failed_count": self._failed_count,
            "categories": [category.state() for category in self._categories],
        }

    @classmethod
    def restore(
        cls,
        state: Mapping[str, Any],
        filters: Sequence[str] = (),
        **settings: Any,
    ) -> "Categorizer":
        """Make a categorizer that goes on as the one whose state it was would have; the settings are given again.

        Raises
        ------
        ValueError
            When the state is of another version.
        """
        if state["version"] != _STATE_VERSION:
            reason = f"expected categories of state version {_STATE_VERSION}, got {state['version']}"
            raise ValueError(reason)
        made = cls(filters, **settings)
        made._failed_count = state["failed_count"]
        for category_id, each in enumerate(state["categories"], 1):
            category = Category.from_state(category_id, each)
            made._categories.append(category)
            made._message_count += category.match_count
            made._budget.add(category.size_bytes)
            made._index.put(category_id, category.slots, 2 * _cost_limit(category.weight))
        return made

    def digest(self) -> bytes:
        """Return SHA-256 of the state: equal for equal categories."""
        text = json.dumps(self.state(), ensure_ascii=True, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).digest()


def _cost_limit(category_weight: int) -> int:
    return category_weight * _COST_SHARE_PERCENT // 100


def _weight_missing(slots: Sequence[Slot], present: frozenset[str]) -> int:
    """Return the weight of the constants that a message lacks; each costs at least half of it."""
    return sum(WEIGHTS[kind(slot)] for slot in slots if slot is not None and slot not in present)


def _covers(general: Sequence[Slot], special: Sequence[Slot]) -> bool:
    """Whether every message that fits the special slots fits the general ones as well, at no cost.

    Sure when it says so. Constants are found from left to right; what lies between them must be no more than the
    wildcards there, and none of it a token that a wildcard would charge for.
    """
    at, room = 0, 0
    for slot in special:
        while at < len(general) and general[at] is None:
            at, room = at + 1, room + 1
        if slot is not None and at < len(general) and general[at] == slot:
            at, room = at + 1, 0
        elif room and (slot is None or distance([None], [slot], FORBIDDEN) == 0):
            room -= 1
        else:
            return False
    return all(slot is None for slot in general[at:])
