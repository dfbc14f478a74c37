"""`make fuzz`: schemathesis with all its checks against the whole running project, for as long as asked."""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent
CONFIG = PROJECT / "tests" / "schemathesis.toml"
WORKERS = [
    ["run_relay"],
    *(["run_consumer", name] for name in ("orders", "loyalty", "payments", "analytics")),
]


def schemathesis(url: str, token: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Ask everything that the OpenAPI document offers, as the user of this token, and check every answer."""
    command = [
        *[str(Path(sys.executable).parent / "schemathesis"), f"--config-file={CONFIG}"],
        *["run", f"{url}/api/schema/"],
        *["--header", f"Authorization: Token {token}", "--checks", "all", "--continue-on-failure"],
        # Longer than `?wait=` holds an answer.
        *["--request-timeout=70", "--no-color", *options],
    ]
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "default"},
            capture_output=True,
            text=True,
            check=False,
        )


def main() -> int:
    """Half of the time as a merchant, half as an operator. The exit status of the one that found more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run by the seed that it printed")
    given = parser.parse_args()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="es-")))
        stack = Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}).start()
        running.callback(stack.stop)
        os.environ.update(stack.environment(), DJANGO_SETTINGS_MODULE="eventsite.settings")
        tokens = _prepare()
        from tests.webserver import WebServer

        server = running.enter_context(WebServer(stack, folder))
        for number, worker in enumerate(WORKERS):
            with (folder / f"worker-{number}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "manage.py", *worker], cwd=PROJECT, stdout=log, stderr=log
                )
            running.callback(process.wait)
            running.callback(process.kill)
        found = 0
        for name, token in tokens.items():
            print(f"As {name}:", flush=True)  # noqa: T201
            options = [] if given.seed is None else [f"--seed={given.seed}"]
            done = schemathesis(server.url, token, f"--max-time={given.seconds // len(tokens)}", *options)
            print(done.stdout, done.stderr, flush=True)  # noqa: T201
            found = max(found, done.returncode)
        errors = [line for line in server.log().splitlines() if " error " in line or "Traceback" in line]
        print(*errors, sep="\n", flush=True)  # noqa: T201
        return found or bool(errors)


def _prepare() -> dict[str, str]:
    """An empty project with a merchant and an operator: their tokens."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("topics", "apply")
    from accounts.services import ensure_token, ensure_user

    return {
        role: ensure_token(user=ensure_user(username=role, password=None, groups=[role]))
        for role in ("merchant", "operator")
    }


if __name__ == "__main__":
    sys.exit(main())
