"""The web server as a process of its own, on the test's database."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from django.db import connection

from devstack.ports import HOST, find_port
from devstack.stack import Stack
from tests.engine import until
from tests.servers import PROJECT


class WebServer:
    """uvicorn with the project, from the beginning of a block to its end.

    Rows are seen by it once they are committed: for tests with `transaction=True`.
    """

    def __init__(self, stack: Stack, folder: Path, **environment: str) -> None:
        self.port = find_port()
        self.url = f"http://{HOST}:{self.port}"
        database = urlsplit(stack.database_url)._replace(path=f"/{connection.settings_dict['NAME']}")
        self._environment = {
            **os.environ,
            **stack.environment(),
            "DATABASE_URL": urlunsplit(database),
            "DATABASE_POOL": "true",
            **environment,
        }
        self._log = folder / "web.log"

    def __enter__(self) -> "WebServer":
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *[sys.executable, "-m", "uvicorn", "eventsite.asgi:application"],
                    *[f"--host={HOST}", f"--port={self.port}", "--timeout-graceful-shutdown=20"],
                ],
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, seconds=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
