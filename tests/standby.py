"""A streaming standby of an embedded PostgreSQL, made by pg_basebackup."""

import shutil
from pathlib import Path

import psycopg

from devstack.postgres import Postgres, _environment, binary
from devstack.privileges import unprivileged
from devstack.process import run_once
from devstack.progress import Progress
from devstack.server import EmbeddedServer
from tests.engine import until


class Standby(Postgres):
    """In the stack's folder, whose guard ends it whatever becomes of the tests. Gone after the block."""

    def __init__(self, primary: Postgres) -> None:
        folder = primary.stack_folder / "standby"
        EmbeddedServer.__init__(self, primary.stack_folder, folder, progress=Progress(None))
        self._account = unprivileged()
        self._primary = primary

    def __enter__(self) -> "Standby":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _create(self) -> None:
        self.data.mkdir(mode=0o700)
        self._account.own(self.data)
        shutil.copy(self._primary._password_file, self._password_file)
        arguments: list[str | Path] = [
            binary("pg_basebackup"),
            f"--pgdata={self.data}",
            "--write-recovery-conf",
        ]
        arguments += ["--checkpoint=fast", "--no-sync", f"--dbname={self._primary.url}"]
        run_once(self._account.command(arguments), what="The backup", env=_environment(), cwd=self.folder)

    def catch_up(self) -> None:
        """Return when it has replayed all that is written by now."""
        [[written]] = _ask(self._primary.url, "SELECT pg_current_wal_lsn()::text")
        until(lambda: _ask(self.url, f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == [(True,)])

    def pause(self) -> None:
        """Replay nothing any more."""
        _ask(self.url, "SELECT pg_wal_replay_pause()")
        until(lambda: _ask(self.url, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])

    def promote(self) -> None:
        _ask(self.url, "SELECT pg_promote()")


def _ask(url: str, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(question).fetchall()
