"""One category of messages: what they have in common, how many they were, some of them, and the resource of it."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from domain.categories.alignment import Slot, weight

EXAMPLE_LENGTH_MAX: Final = 1_000
"""Characters of an example that are kept, as in the reference; a longer one ends with dots."""
_DOTS: Final = "..."
_SURROGATES = re.compile("[\ud800-\udfff]")

_CATEGORY_BYTES: Final = 900
_SLOT_BYTES: Final = 70
_EXAMPLE_BYTES: Final = 110
"""What a category, a slot and an example cost beside their text. Measured by tracemalloc over 2,000 categories."""


@dataclass(slots=True)
class Category:
    """A category; `slots` only ever become more general.

    Attributes
    ----------
    id : int
        From 1, in order of appearance.
    slots : list of (str or None)
        The tokens that all messages have, in order; None where something may stand or not.
    first_weight : int
        Weight of the first message: how much there was to have in common.
    weight : int
        Weight of the constants among the slots.
    match_count : int
        Messages so far.
    longest_match : int
        Characters of the longest message so far.
    examples : dict of str to None
        Distinct messages, in order of appearance.
    """

    id: int
    slots: list[Slot]
    first_weight: int
    weight: int = field(init=False)
    match_count: int = 0
    longest_match: int = 0
    examples: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weight = weight(self.slots)

    @property
    def terms(self) -> list[str]:
        """The constants, in order."""
        return [slot for slot in self.slots if slot is not None]

    @property
    def size_bytes(self) -> int:
        """About what the category takes in memory."""
        examples = sum(len(each) for each in self.examples)
        return _CATEGORY_BYTES + _size_of(self.slots) + examples + _EXAMPLE_BYTES * len(self.examples)

    def generalise(self, slots: list[Slot]) -> int:
        """Take slots that fit more messages than those before; return the bytes that this takes more, or less."""
        before = _size_of(self.slots)
        self.slots = slots
        self.weight = weight(slots)
        return _size_of(slots) - before

    def add_example(self, message: str) -> int:
        """Keep a message as an example, and return the bytes that it takes: 0 if it is no new one."""
        example = message
        if len(message) > EXAMPLE_LENGTH_MAX:
            example = message[: EXAMPLE_LENGTH_MAX - len(_DOTS)] + _DOTS
        if not example.isascii():
            example = _SURROGATES.sub("\ufffd", example)  # a lone half of a character is no text that a database takes
        if example in self.examples:
            return 0
        self.examples[example] = None
        return _EXAMPLE_BYTES + len(example)

    def resource(self, preferred_to: list[int]) -> dict[str, Any]:
        """Return the category as the API shows it, without the job's id.

        Parameters
        ----------
        preferred_to : list of int
            Ids of the categories that this one now stands in for.
        """
        return {
            "category_id": self.id,
            "terms": " ".join(self.terms),
            "regex": expression(self.terms),
            "max_matching_length": self.longest_match + self.longest_match // 10,
            "examples": sorted(self.examples),
            "preferred_to_categories": preferred_to,
            "num_matches": self.match_count,
        }

    def state(self) -> list[Any]:
        """Return all that `from_state` needs, of types that JSON and MessagePack have."""
        return [list(self.slots), self.first_weight, self.match_count, self.longest_match, list(self.examples)]

    @classmethod
    def from_state(cls, category_id: int, state: list[Any]) -> "Category":
        """Make a category from its state."""
        slots, first_weight, match_count, longest_match, examples = state
        return cls(category_id, list(slots), first_weight, match_count, longest_match, dict.fromkeys(examples))


def _size_of(slots: list[Slot]) -> int:
    return sum(len(slot) for slot in slots if slot is not None) + _SLOT_BYTES * len(slots)


def expression(terms: list[str]) -> str:
    r"""Return a regular expression that finds the first line of every message that has the terms, in order.

    >>> expression(["session", "closed", "uid="])
    '.*?session.+?closed.+?uid=.*'
    """
    if not terms:
        return ".*"
    parts = [".*?", _escaped(terms[0])]
    for before, term in pairwise(terms):
        is_unspaced = not (before[-1].isascii() and term[0].isascii())
        parts += [".*?" if is_unspaced else ".+?", _escaped(term)]
    return "".join([*parts, ".*"])


_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")


def _escaped(term: str) -> str:
    """Escape what every dialect of regular expressions takes for special, and no more: others refuse more."""
    return _SPECIAL.sub(r"\\\g<0>", term)
