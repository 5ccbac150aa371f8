"""Merkle trees as in RFC 6962, section 2.1: one hash for a list of leaves, and short proofs that a leaf is in it.

A leaf is ``SHA-256(00 || data)``, a node ``SHA-256(01 || left || right)``; a node without a right neighbour goes
up as it is. Leaves and nodes are hashed differently, so that no node passes for a leaf.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

LEAF = b"\x00"
NODE = b"\x01"


class Step(NamedTuple):
    """A neighbour on the way from a leaf to the root."""

    is_left: bool
    hash: bytes


def leaf_of(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(LEAF + data).digest()


def levels_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return the tree over hashed leaves, of which there must be at least one: from them up to the root."""
    assert leaves, "a tree has at least one leaf"
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_above(levels[-1]))
    return levels


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over hashed leaves.

    >>> root_of([leaf_of(b"")]).hex()[:16]
    '6e340b9cffb37a98'
    """
    return levels_of(leaves)[-1][0]


def proof_in(levels: Sequence[Sequence[bytes]], index: int) -> list[Step]:
    """Return the neighbours that lead from a leaf of a tree to its root."""
    steps = []
    for level in levels:
        neighbour = index ^ 1
        if neighbour < len(level):
            steps.append(Step(neighbour < index, level[neighbour]))
        index //= 2
    return steps


def root_by(leaf: bytes, steps: Iterable[Step]) -> bytes:
    """Return the root that a proof leads to.

    >>> leaves = [leaf_of(b"%d" % number) for number in range(5)]
    >>> levels = levels_of(leaves)
    >>> {root_by(leaf, proof_in(levels, index)) for index, leaf in enumerate(leaves)} == {root_of(leaves)}
    True
    """
    for step in steps:
        pair = step.hash + leaf if step.is_left else leaf + step.hash
        leaf = sha256(NODE + pair).digest()
    return leaf


def _above(level: list[bytes]) -> list[bytes]:
    above = [sha256(NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above
