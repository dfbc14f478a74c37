"""PostgreSQL and Kafka together: one call starts both, one ends both and leaves nothing."""

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack import state
from devstack.errors import NotEmbedded, NotStarted
from devstack.folder import FolderLock, check_room, make_usable
from devstack.jars import JarCache
from devstack.kafka import Kafka
from devstack.leftovers import end_leftovers
from devstack.postgres import Postgres
from devstack.progress import Listener, Progress, Step
from devstack.server import EmbeddedServer

DATABASE_VARIABLE = "DATABASE_URL"
KAFKA_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"


class Stack:
    """The servers the project needs, in one folder; data is kept from run to run.

    A server whose address `environ` gives (DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS) is taken as it is, neither
    started nor stopped. `jars` is a folder that several stacks may share. Nothing happens before start().
    """

    def __init__(
        self,
        folder: Path,
        *,
        jars: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        progress: Listener | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._listener = progress
        self._given = {
            name: environ[name] for name in (DATABASE_VARIABLE, KAFKA_VARIABLE) if environ.get(name)
        }
        self._jars = jars.absolute() if jars else self.folder / "jars"
        self._lock = FolderLock(self.folder)
        self._guard: subprocess.Popen[bytes] | None = None
        self._postgres: Postgres | None = None
        self._kafka: Kafka | None = None
        self._started = False

    @property
    def postgres(self) -> Postgres:
        """The embedded PostgreSQL, to be killed and started again by whoever wants to see what survives."""
        if DATABASE_VARIABLE in self._given:
            raise NotEmbedded(
                f"PostgreSQL is given by {DATABASE_VARIABLE}: the stack neither starts nor stops it."
            )
        if self._postgres is None:
            raise NotStarted
        return self._postgres

    @property
    def kafka(self) -> Kafka:
        """The embedded Kafka, as `postgres`."""
        if KAFKA_VARIABLE in self._given:
            raise NotEmbedded(f"Kafka is given by {KAFKA_VARIABLE}: the stack neither starts nor stops it.")
        if self._kafka is None:
            raise NotStarted
        return self._kafka

    @property
    def database_url(self) -> str:
        return self._given.get(DATABASE_VARIABLE) or self.postgres.url

    @property
    def kafka_bootstrap(self) -> str:
        return self._given.get(KAFKA_VARIABLE) or self.kafka.bootstrap

    def environment(self) -> dict[str, str]:
        """The variables that lead a process of the project to this stack."""
        return {
            DATABASE_VARIABLE: self.database_url,
            KAFKA_VARIABLE: self.kafka_bootstrap,
            "DJANGO_SECRET_KEY": state.secret_key(self.folder),
        }

    def start(self) -> Self:
        """Start what is not given, and return when it answers.

        Raises AlreadyRunning, and the errors of its parts; when it raises, nothing runs.
        """
        if self._started:
            return self
        progress = Progress(self._listener)
        make_usable(self.folder)
        self._lock.acquire()
        try:
            if end_leftovers(self.folder):
                progress.report(Step("Ended what a killed run had left"))
            self._start_servers(progress)
            state.announce(self.folder, environment=self.environment())
        except BaseException:
            self.stop()
            raise
        self._started = True
        return self

    def stop(self) -> None:
        """End both servers in order. May be called at any time, and again."""
        self._started = False
        if not self._lock.held:
            return
        try:
            state.withdraw(self.folder)
            servers = [server for server in (self._kafka, self._postgres) if server]
            with ThreadPoolExecutor(2) as pool:
                for stop in [pool.submit(server.stop) for server in servers]:
                    stop.result()
            self._dismiss_guard()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_servers(self, progress: Progress) -> None:
        servers: list[EmbeddedServer] = []
        if DATABASE_VARIABLE not in self._given:
            self._postgres = Postgres(self.folder, progress=progress)
            servers.append(self._postgres)
        if KAFKA_VARIABLE not in self._given:
            self._kafka = Kafka(self.folder, jars=JarCache(self._jars), progress=progress)
            servers.append(self._kafka)
        # Also without servers of its own: the guard ends whatever bears the folder's mark.
        self._post_guard()
        if not servers:
            return
        check_room(self.folder)
        with ThreadPoolExecutor(len(servers)) as pool:
            try:
                for start in as_completed([pool.submit(server.start) for server in servers]):
                    start.result()
            except BaseException:
                # One failed, or Ctrl-C: the other need not finish.
                progress.cancel()
                raise

    def _post_guard(self) -> None:
        self._guard = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "devstack.guard", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        """While the lock is still ours: the guard then sees that nothing is left for it to do."""
        if self._guard and self._guard.stdin:
            with suppress(BrokenPipeError):  # the guard itself was killed
                self._guard.stdin.write(b"farewell")
                self._guard.stdin.close()
            self._guard.wait()
            self._guard = None
