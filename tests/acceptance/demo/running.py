"""The demo as a user starts it: a process, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from demo.status import DEMO_FILE
from devstack.leftovers import leftovers
from tests.engine import until
from tests.servers import PROJECT

READY_SECONDS = 90


class RunningDemo:
    """`manage.py demo`, ready when this is made. The tests' own servers are kept from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self.start()

    def start(self) -> None:
        """Return when it is ready; after `kill`, a next one in the same folder."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--folder", str(self.folder)],
                cwd=PROJECT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until(self._ready, seconds=READY_SECONDS)
        except BaseException:
            sys.stderr.write(self.log.read_text())
            self.process.terminate()
            self.process.wait()
            raise

    def _ready(self) -> bool:
        assert self.process.poll() is None, "the demo ended instead of getting ready"
        # The file of a demo that was killed stays until the next one has the folder.
        return "Ready in" in self.log.read_text()

    @property
    def file(self) -> Path:
        return self.folder / DEMO_FILE

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.file.read_text())
        return content

    def left(self) -> list[psutil.Process]:
        """What still runs of it, the demo itself aside."""
        return leftovers(self.folder)

    def kill(self) -> None:
        """SIGKILL to the demo alone."""
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status. TimeoutExpired when that takes more than half a minute."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def environment() -> dict[str, str]:
    """Ours, without the addresses of the tests' servers."""
    ours = {"DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "DJANGO_SECRET_KEY"}
    return {name: value for name, value in os.environ.items() if name not in ours}
