"""Commands that meet: each in a thread and on a connection of its own, begun at one moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def at_once(*commands: Callable[[], Any]) -> list[Any]:
    """What each command returned, or the error that it raised, in the order given."""
    together = threading.Barrier(len(commands))

    def run(command: Callable[[], Any]) -> Any:
        try:
            together.wait(timeout=10)
            return command()
        except Exception as error:  # noqa: BLE001  (looked at by the test)
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))
