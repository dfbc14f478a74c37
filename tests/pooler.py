"""A PgBouncer in transaction mode: the pooler that a PostgreSQL is often reached through."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg

from devstack.leftovers import marker
from devstack.ports import HOST
from devstack.privileges import unprivileged
from devstack.process import ServerProcess
from devstack.progress import Progress
from devstack.server import EmbeddedServer

# Fewer than the sessions of two relays and a publisher: they must share.
POOL_SIZE = 5
# Before this version it has no setting for prepared statements: it knows none of them.
PREPARES = (1, 21)

# Each transaction gets the session that has waited longest, so that no client keeps one by luck.
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = {listen}
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
server_round_robin = 1
max_client_conn = 200
"""


class Pooler(EmbeddedServer):
    """A PgBouncer below a stack's folder, in front of that stack's PostgreSQL, for all its databases."""

    name: ClassVar[str] = "PgBouncer"
    port_names: ClassVar[tuple[str, ...]] = ("pooler",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT
    start_timeout: ClassVar[float] = 30
    stop_timeout: ClassVar[float] = 8

    def __init__(self, stack_folder: Path, *, database_url: str) -> None:
        super().__init__(stack_folder, stack_folder / "pooler", progress=Progress(None))
        self._database = urlsplit(database_url)
        self._account = unprivileged()

    @property
    def url(self) -> str:
        login, _, _ = self._database.netloc.rpartition("@")
        return self._database._replace(netloc=f"{login}@{HOST}:{self.port}").geturl()

    def __enter__(self) -> "Pooler":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        self._binary = _binary()

    def _spawn(self, process: ServerProcess) -> None:
        configuration = self.folder / "pgbouncer.ini"
        text = CONFIGURATION.format(
            host=self._database.hostname,
            port=self._database.port,
            user=self._database.username,
            password=self._database.password,
            listen=HOST,
            listen_port=self.port,
            size=POOL_SIZE,
        )
        if _version(self._binary) >= PREPARES:
            text += "max_prepared_statements = 0\n"
        configuration.write_text(text, encoding="utf-8")
        self._account.own(self.folder)
        # It takes no arguments of ours: by its name it is found and ended after a run that was killed.
        named: list[str | Path] = ["bash", "-c", 'exec -a "$0" "$@"', marker(self.stack_folder)]
        command = self._account.command([*named, self._binary, configuration])
        process.spawn(command, env=os.environ, cwd=self.folder)

    def _is_ready(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _binary() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    assert found is not None, "PgBouncer is missing: `make test` sees to it, by .ci/get-pgbouncer."
    return found


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", said)
    assert found is not None, said
    return tuple(int(number) for number in found.groups())
