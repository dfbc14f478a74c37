"""The processes of the demo: what is started, by which command."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from devstack.leftovers import marker
from devstack.ports import HOST, find_port

# Clients keep connections for some seconds; a server that hung up first would fail their next request.
KEEP_ALIVE = 60
# An open event stream would otherwise hold the server for ever.
LAST_REQUESTS = 2
# Seconds for which a request may wait for a row that another holds.
LONGEST_LOCK, LONGEST_STATEMENT = 3, 20
# The first of those at which metrics are told, if they are free.
METRICS_PORT = 9_101
# Celery workers speak to one another through the broker; ours is alone.
NO_PEERS = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process: its name in the log and in demo.json, how it is started, where it tells its metrics."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    metrics_port: int | None = None


def preparation(folder: Path) -> Part:
    """What must be done before the others can run."""
    return Part(name="setup", command=[*_python(folder), "manage.py", "prepare_demo", str(folder)])


def parts(
    folder: Path, *, port: int, consumers: Sequence[str], control: Path | None = None
) -> Iterator[Part]:
    """Every process that is kept running, each with a port for its metrics; the site's are at its own.

    Only the web server is told where the control channel is.
    """
    taken = {port}
    for number, part in enumerate(_parts(folder, port=port, consumers=consumers, control=control)):
        if part.name == "web":
            yield replace(part, metrics_port=port)
            continue
        own = find_port(preferred=METRICS_PORT + number, avoid=taken)
        taken.add(own)
        environment = {**part.environment, "METRICS_ADDRESS": f"{HOST}:{own}"}
        yield replace(part, metrics_port=own, environment=environment)


def _parts(folder: Path, *, port: int, consumers: Sequence[str], control: Path | None) -> Iterator[Part]:
    python = _python(folder)
    # The relay's statements are planned anew: a plan made during a backlog would be a bad one without.
    yield Part(name="relay-1", command=[*python, "manage.py", "run_relay"])
    for consumer in consumers:
        yield Part(
            name=f"{consumer}-1",
            command=[*python, "manage.py", "run_consumer", consumer],
            environment={"DATABASE_PREPARED": "true"},
        )
    # In a container everything is root: Celery's warning about it would open every log.
    celery = [*python, "-W", "ignore:::celery.platforms", "-m", "celery", "--quiet", "--app", "eventsite"]
    yield Part(
        name="worker",
        # Threads: a worker of processes that is killed leaves its children behind. The name is short
        # because a queue in PostgreSQL is named after it.
        command=[*celery, "worker", "--hostname=worker@demo", "--pool=threads", "--concurrency=2", *NO_PEERS],
    )
    # What is due is sent at each start: there is no schedule to be kept in a file.
    yield Part(name="beat", command=[*celery, "beat", "--scheduler=celery.beat:Scheduler"])
    yield Part(
        name="web",
        command=[
            *[*python, "-m", "uvicorn", "eventsite.asgi:application", f"--host={HOST}", f"--port={port}"],
            *["--no-access-log", f"--timeout-keep-alive={KEEP_ALIVE}"],
            f"--timeout-graceful-shutdown={LAST_REQUESTS}",
        ],
        # A request has a thread of its own, and so a connection of its own unless they come from a pool.
        environment={
            "DATABASE_POOL": "true",
            "DATABASE_PREPARED": "true",
            "DATABASE_LOCK_TIMEOUT": str(LONGEST_LOCK),
            "DATABASE_STATEMENT_TIMEOUT": str(LONGEST_STATEMENT),
            "DEMO_CONTROL": str(control or ""),
        },
    )


def _python(folder: Path) -> list[str]:
    """Python, carrying the mark by which the stack's guard ends what a killed demo leaves behind."""
    return [sys.executable, "-X", marker(folder)]
