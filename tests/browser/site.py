"""The project as a user meets it: every process, on a PostgreSQL and a Kafka of its own."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import psycopg

from devstack.ports import HOST, find_port
from devstack.stack import Stack
from tests.engine import until
from tests.prepared import prepare
from tests.servers import PROJECT

PASSWORD = "a-password-for-tests"
CELERY = ["-W", "ignore:::celery.platforms", "-m", "celery", "--quiet", "--app", "eventsite"]
ALONE = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
ACCOUNTS = f"""
from accounts.services import ensure_token, ensure_user
for name, staff, groups in [
    ("staff", True, ["operator"]), ("first", False, ["merchant"]), ("second", False, ["merchant"]),
    ("watcher", False, ["viewer"]), ("onlooker", True, ["viewer"]), ("root", True, []),
    ("<script>owned=1</script>", False, ["merchant"]),
]:
    user = ensure_user(
        username=name, password="{PASSWORD}", groups=groups, is_staff=staff, is_superuser=name == "root"
    )
    print(name, user.id, ensure_token(user=user))
"""


class Site:
    """Processes by name: web, relay and every consumer; Celery's worker and beat when started.

    `users` maps a name to its id and token.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.port = find_port()
        self.url = f"http://{HOST}:{self.port}"
        self.environment = {**os.environ, **stack.environment()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (stack.folder / "site.log").open("ab")
        prepare(self.environment)
        lines = self.manage("shell", "--verbosity", "0", "--command", ACCOUNTS).splitlines()
        self.users = {name: (user_id, token) for name, user_id, token in map(str.split, lines)}
        for name in ("web", "relay", "orders", "loyalty", "payments", "analytics"):
            self.start(name)

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py; return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=PROJECT, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    def start(self, name: str) -> None:
        """Start a process; the web server answers when this returns."""
        commands = {
            "web": [
                *["-m", "uvicorn", "eventsite.asgi:application", f"--host={HOST}", f"--port={self.port}"],
                *["--timeout-graceful-shutdown=2"],
            ],
            "relay": ["manage.py", "run_relay"],
            # Not there from the beginning: only some pages need them.
            "worker": [
                *[*CELERY, "worker", "--pool=threads", "--concurrency=2", "--hostname=worker@site", *ALONE]
            ],
            "beat": [*CELERY, "beat", "--scheduler=celery.beat:Scheduler"],
        }
        command = commands.get(name, ["manage.py", "run_consumer", name])
        self._processes[name] = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        if name == "web":
            until(self._answers, seconds=90)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/login/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def end(self, name: str) -> int:
        """Have a process stop in order; return its exit status."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(60)

    def kill(self, name: str) -> None:
        """Have a process end at once, without a word."""
        process = self._processes.pop(name)
        process.kill()
        process.wait(60)

    def freeze(self, name: str) -> None:
        """Have a process stand still: its connections stay, and nothing comes of them."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Have a frozen process go on where it was."""
        self._processes[name].send_signal(signal.SIGCONT)

    def end_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._log.close()

    def log(self) -> str:
        return (self.stack.folder / "site.log").read_text(errors="replace")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def post(self, user: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A call of the REST API as this user."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Token {self.users[user][1]}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            given: dict[str, Any] = json.load(answer)
            return given
