"""A TCP proxy before PostgreSQL that can break the connection at the worst moment."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from pathlib import Path

from sqlalchemy.engine import URL, make_url

READY = b"Z\x00\x00\x00\x05"  # ReadyForQuery: the server has answered all it was asked


class BreakingProxy:
    """Forwards connections; `break_next_answer` and `break_next_question` cut the one that speaks next."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._swallows_answer = threading.Event()
        self._swallows_question = threading.Event()
        self.is_refusing = False
        self.n_connections = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()
        url = self._target.set(host=host, port=port, query={"sslmode": "disable", "gssencmode": "disable"})
        return url.render_as_string(hide_password=False)

    def break_next_answer(self) -> None:
        """Let the next question through and its work be done, but cut the line before the answer."""
        self._swallows_answer.set()

    def break_next_question(self) -> None:
        """Cut the line before the next question reaches the server."""
        self._swallows_question.set()

    def cut(self) -> None:
        """Cut every line that there is now."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_refusing:
                    client.close()
                    continue
                self.n_connections += 1
                server = self._connect()
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        host = self._target.query.get("host") or self._target.host or "127.0.0.1"
        port = self._target.port or 5432
        if str(host).startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(Path(str(host)) / f".s.PGSQL.{port}"))
            return connection
        return socket.create_connection((str(host), port))

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, contextlib.suppress(OSError, ValueError):  # ValueError: closed meanwhile
            while True:
                readable, _, _ = select.select([client, server], [], [])
                source = readable[0]
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is client:
                    if self._swallows_question.is_set():
                        self._swallows_question.clear()
                        return
                    server.sendall(data)
                elif self._swallows_answer.is_set():
                    self._swallows_answer.clear()
                    while READY not in data:
                        data += server.recv(1 << 16)
                    return
                else:
                    client.sendall(data)


def proxy_before(url: str) -> BreakingProxy:
    return BreakingProxy(make_url(url))
