"""Tables and topics on the servers of a test's own, made by one process: each takes a second to start."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def prepare(environment: Mapping[str, str]) -> None:
    """Return when they are there. `environment` leads to the servers."""
    command = [sys.executable, "-m", "tests.prepared"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    import django
    from django.core.management import call_command

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("topics", "apply")
