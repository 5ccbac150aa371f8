"""What the domain refuses, one class per kind of refusal; which HTTP status each gets is decided at the edge.

The tree::

    DomainError
    ├── NotFound            an id that names nothing
    │   └── IndexNotFound   a source has no such table, file or index
    ├── AlreadyExists       an id or name that is taken
    ├── Conflict            the command is right, the state of the job is wrong for it
    ├── BadRequest          a value that the rules of the API refuse
    ├── InvalidArgument     a value that is no legal argument at all
    ├── ParseError          a text that cannot be parsed (dates, record data, a missing body)
    ├── UnknownField        a body with an unknown or malformed field
    ├── Unsupported         legal, but this version's engine cannot do it
    ├── TooManyRequests     no capacity now, try again
    └── TimedOut            the wait ended before the work did

A message says what was expected, what was got, and which job or field; many are fixed by the API contract.
"""


class DomainError(Exception):
    """Root of everything the domain refuses.

    Attributes
    ----------
    reason : str
        The message for people and clients.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotFound(DomainError):
    """An id that names nothing."""


class IndexNotFound(NotFound):
    """A table, file or index that its source does not have."""


class AlreadyExists(DomainError):
    """An id or name that is taken."""


class Conflict(DomainError):
    """The state of the job does not allow the command."""


class BadRequest(DomainError):
    """A value that the rules of the API refuse."""


class InvalidArgument(DomainError):
    """A value that is no legal argument."""


class ParseError(DomainError):
    """A text that cannot be parsed."""


class UnknownField(DomainError):
    """A body with an unknown or malformed field."""


class Unsupported(DomainError):
    """A legal request that this version's engine cannot carry out."""


class TooManyRequests(DomainError):
    """No capacity now; the same request may succeed later."""


class TimedOut(DomainError):
    """The wait ended before the work did."""
