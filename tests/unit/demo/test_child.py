"""One process of the demo, with real processes."""

import asyncio
import contextlib
import io
import itertools
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from demo.child import Child, cause_of_death, delays
from demo.output import Output
from demo.parts import Part
from tests.servers import PROJECT


def child(code: str, stream: io.StringIO) -> Child:
    part = Part(name="part", command=[sys.executable, "-c", code], environment={"OWN": "yes"})
    return Child(part, folder=PROJECT, environment=dict(os.environ), output=Output(stream))


def test_a_process_that_keeps_dying_is_started_less_and_less_often() -> None:
    assert list(itertools.islice(delays(), 8)) == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (3, "exit status 3"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_a_death_is_told_in_words(status: int, words: str) -> None:
    assert cause_of_death(status) == words


async def test_what_it_writes_is_shown_to_the_last_line() -> None:
    stream = io.StringIO()
    code = "import os, sys; print(os.environ['OWN']); sys.stderr.write('last words'); sys.exit(3)"
    assert await child(code, stream).run() == 3
    assert stream.getvalue().splitlines() == ["part      | yes", "part      | last words"]


async def test_it_is_started_again_when_it_was_killed_and_not_when_it_was_told_to_end() -> None:
    stream, pids, started = io.StringIO(), [], asyncio.Event()
    part = child("import time; time.sleep(60)", stream)

    def note() -> None:
        pids.append(part.pid)
        started.set()

    keeper = asyncio.create_task(part.keep(changed=note))
    await asyncio.wait_for(started.wait(), 10)
    started.clear()
    assert pids[0] is not None
    os.kill(pids[0], signal.SIGKILL)
    await asyncio.wait_for(started.wait(), 10)
    part.terminate()
    await asyncio.wait_for(keeper, 10)
    assert len(set(pids)) == 2
    assert not part.alive
    assert stream.getvalue() == "demo      | part died (SIGKILL): starting it again now\n"


async def test_one_that_waits_to_be_started_again_ends_at_once() -> None:
    deaths = 0

    def note() -> None:
        nonlocal deaths
        deaths += 1

    stream = io.StringIO()
    part = child("raise SystemExit(1)", stream)
    keeper = asyncio.create_task(part.keep(changed=note))
    async with asyncio.timeout(20):
        while "in 0.5 s" not in stream.getvalue():
            await asyncio.sleep(0.01)
        part.terminate()
        await keeper
    assert deaths == 2


async def test_a_kill_takes_what_the_process_has_started_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess, sys, time; from pathlib import Path\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"Path({str(note)!r}).write_text(f'{{other.pid}}\\n'); time.sleep(60)"
    )
    part = child(code, io.StringIO())
    running = asyncio.create_task(part.run())
    async with asyncio.timeout(20):
        while not (note.exists() and note.read_text().endswith("\n")):
            await asyncio.sleep(0.01)
        part.kill()
        assert await running == -signal.SIGKILL
        while _runs(int(note.read_text())):
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
