"""Tokens for values that are nobody's business: one per value, drawn at random, in the order of the values.

The analysis breaks ties by the alphabetical order of names and counts the bytes that they take, so tokens keep both:
sorted tokens stand in the order of the sorted values, and each is as long as its value unless that is very short.
Nothing else of a value is in its token, and no key leads back: the draw is the secret, and it is not kept.
"""

import random
from collections.abc import Collection, Iterator
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""In the order of its letters' code points, which is the order of texts."""
SPARSENESS: Final = 16
"""Of so many possible tokens one is taken. Chosen: two letters are enough for 240 values, and tokens say nothing of how
far values lie apart."""


def draw_tokens(values: Collection[str], chance: random.Random | None = None) -> dict[str, str]:
    """Return a token for each value.

    Parameters
    ----------
    chance : random.Random or None
        Where the tokens come from: the system's own source of randomness, unless a test needs another.

    Returns
    -------
    dict of str to str
        In the order of the values. No token is one of the values.

    Examples
    --------
    >>> tokens = draw_tokens(["berlin", "aachen", "x"], random.Random(4))
    >>> [len(token) for token in tokens.values()], sorted(tokens.values()) == list(tokens.values())
    ([6, 6, 1], True)
    """
    chance = chance or random.SystemRandom()
    taken = set(values)
    width = _width(len(taken))
    while True:
        codes = sorted(chance.sample(range(len(ALPHABET) ** width), len(taken)))
        tokens = {
            value: _token(code, width, len(value.encode("utf-8", "surrogatepass")), chance)
            for value, code in zip(sorted(taken), codes, strict=True)
        }
        if taken.isdisjoint(tokens.values()):
            return tokens
        width += 1  # values so short that tokens run into them


def _width(count: int) -> int:
    width = 1
    while len(ALPHABET) ** width < SPARSENESS * count:
        width += 1
    return width


def _token(code: int, width: int, n_bytes: int, chance: random.Random) -> str:
    """Spell a number in letters, and fill the token up."""
    return "".join((*reversed(list(_letters(code, width))), *chance.choices(ALPHABET, k=max(n_bytes - width, 0))))


def _letters(code: int, width: int) -> Iterator[str]:
    for _ in range(width):
        code, place = divmod(code, len(ALPHABET))
        yield ALPHABET[place]
