"""What both embedded servers share: started, awaited, stopped, killed, and back on the same port."""

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from devstack.errors import NotStarted, PortTaken, ServerFailed
from devstack.ports import find_port, is_free
from devstack.process import ServerProcess
from devstack.progress import Progress, Step

BIND_ATTEMPTS = 3


class EmbeddedServer(ABC):
    """One server below the stack's folder.

    Its ports are found at the first start and kept in a file; a later run moves only when another program has
    taken them. Within a run they never move.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[signal.Signals]
    start_timeout: ClassVar[float]
    stop_timeout: ClassVar[float]

    def __init__(self, stack_folder: Path, folder: Path, *, progress: Progress) -> None:
        self.stack_folder = stack_folder
        self.folder = folder
        self.data = folder / "data"
        self.ports: dict[str, int] = {}
        self._progress = progress
        self._process = ServerProcess(self.name, log=folder / f"{folder.name}.log")

    @property
    def pid(self) -> int | None:
        """The process to kill in a test of failure; None while it does not run."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def log(self) -> Path:
        return self._process.log

    @property
    def port(self) -> int:
        """The port clients use."""
        if not self.ports:
            raise NotStarted(f"{self.name} has no port before its first start: call start().")
        return self.ports[self.port_names[0]]

    def start(self) -> None:
        """Start, and return when it answers; nothing when it already runs."""
        if self.alive:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        self._progress.report(Step(f"Starting {self.name}"))
        if self.ports:
            self._restart()
        else:
            self._first_start()

    def stop(self) -> None:
        """End in order: all is on disk, and the next start recovers nothing."""
        self._process.signal(self.stop_signal)
        self._process.wait_end(timeout=self.stop_timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's own process, if it runs."""
        self._process.signal(number)

    def kill(self) -> None:
        """SIGKILL to the server and all its children, as a crash would."""
        self._process.kill()

    def _restart(self) -> None:
        for port in self.ports.values():
            if not is_free(port):
                raise PortTaken(self.name, port)
        self._launch()

    def _first_start(self) -> None:
        kept = self._kept_ports()
        for attempt in range(1, BIND_ATTEMPTS + 1):
            chosen: dict[str, int] = {}
            for name in self.port_names:
                chosen[name] = find_port(preferred=kept.get(name), avoid=chosen.values())
            self.ports = chosen
            try:
                self._launch()
            except ServerFailed:
                # Another program may have been quicker than us between finding the port and listening on it.
                taken = not all(is_free(port) for port in chosen.values())
                self.ports = {}
                if not taken or attempt == BIND_ATTEMPTS:
                    raise
            else:
                self._ports_file.write_text(json.dumps(chosen), encoding="utf-8")
                return

    def _launch(self) -> None:
        self._spawn(self._process)
        self._process.wait_until(self._ready_or_cancelled, timeout=self.start_timeout)

    def _ready_or_cancelled(self) -> bool:
        self._progress.check()
        return self._is_ready()

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _kept_ports(self) -> Mapping[str, int]:
        try:
            kept = json.loads(self._ports_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return (
            {name: port for name, port in kept.items() if isinstance(port, int)}
            if isinstance(kept, dict)
            else {}
        )

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data folder on a first run, and check it on the next ones."""

    @abstractmethod
    def _spawn(self, process: ServerProcess) -> None:
        """Start the process."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether a client would be served now."""
