"""HTTP/1.1 on one connection: uvicorn's protocol, which waits for headers for ever, with a bound on that."""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS: Final = 30.0
"""How long a client may take from its first byte, or from connecting, to the end of its headers."""


class BoundedProtocol(H11Protocol):
    """Closes connections on which no request comes to be."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; those of a body have a bound elsewhere (``bodies.py``)."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._stop_watch()
        super().connection_lost(exc)

    @property
    def _is_between(self) -> bool:
        """Whether no request is in work here."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._is_between:
            self._stop_watch()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_watch(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if self._is_between:
            self.transport.close()
