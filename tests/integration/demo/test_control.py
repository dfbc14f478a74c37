"""The control channel, with real processes behind it: what it does, and what it makes of strange peers."""

import asyncio
import io
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from pytest_django import Settings

from dashboard.chaos.channel import Away, DemoPart, PartState, Refused, Verb, ask
from demo.child import Child
from demo.control import LONGEST_PATH, control_channel, socket_path
from demo.output import Output
from demo.parts import Part
from demo.supervisor import Supervisor
from devstack.stack import Stack
from tests.servers import PROJECT

GIVEN = {"DATABASE_URL": "postgresql://elsewhere/db", "KAFKA_BOOTSTRAP_SERVERS": "elsewhere:9092"}
SLEEPER = "import time; print('here', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


class World:
    """A supervisor of two processes that sleep, its channel, and what it said."""

    def __init__(self, path: Path, folder: Path, code: str = SLEEPER) -> None:
        self.path = path
        self.said = io.StringIO()
        self.announced: dict[str, int] = {}
        output = Output(self.said)
        children = [
            Child(
                Part(name=name, command=[sys.executable, "-c", code]),
                folder=PROJECT,
                environment=dict(os.environ),
                output=output,
            )
            for name in ("relay-1", "web")
        ]
        self.supervisor = Supervisor(children=children, stack=Stack(folder, environ=GIVEN), output=output)
        self.output = output

    async def ask(self, verb: Verb, name: str = "") -> dict[str, DemoPart]:
        """As the web process asks, from a thread."""
        return {part.name: part for part in await asyncio.to_thread(ask, verb, name)}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)

    def state(self, name: str) -> PartState:
        return next(part.state for part in self.supervisor.parts() if part.name == name)

    async def until_listening(self) -> None:
        """Both have said that they are there: what is sent to them from now on finds them prepared."""
        await self.until(lambda: self.said.getvalue().count("here") >= 2)

    def note(self, processes: dict[str, int]) -> None:
        self.announced = dict(processes)


@pytest.fixture
async def world(tmp_path: Path, settings: Settings) -> AsyncIterator[World]:
    path = socket_path(tmp_path)
    settings.DEMO_CONTROL = str(path)
    world = World(path, tmp_path)
    world.supervisor.start(failed=lambda error: None)
    world.supervisor.announce(world.note)  # type: ignore[arg-type]
    try:
        async with control_channel(path, supervisor=world.supervisor, output=world.output):
            await world.until_listening()
            yield world
    finally:
        await world.supervisor.end()
    assert not path.exists()


async def test_only_its_owner_may_open_it(world: World) -> None:
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600


async def test_parts_are_listed_as_they_are(world: World) -> None:
    told = await world.ask(Verb.LIST)
    assert set(told) == {"relay-1", "web"}
    assert told["relay-1"].state == PartState.RUNNING
    assert told["relay-1"].pid == world.announced["relay-1"]
    assert psutil.pid_exists(told["relay-1"].pid)
    assert (told["relay-1"].spared, bool(told["web"].spared)) == ("", True)


async def test_what_is_stopped_stays_so_until_it_is_started(world: World) -> None:
    before = world.announced["relay-1"]
    assert (await world.ask(Verb.STOP, "relay-1"))["relay-1"].state == PartState.STOPPING
    await world.until(lambda: "relay-1" not in world.announced)
    assert not psutil.pid_exists(before)
    told = (await world.ask(Verb.LIST))["relay-1"]
    assert (told.state, told.pid) == (PartState.STOPPED, None)
    await world.ask(Verb.STOP, "relay-1")
    assert world.state("relay-1") == PartState.STOPPED
    await world.ask(Verb.START, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.RUNNING)
    assert world.announced["relay-1"] != before
    assert "died" not in world.said.getvalue()


async def test_what_is_frozen_is_held_still_and_goes_on(world: World) -> None:
    pid = world.announced["relay-1"]
    await world.ask(Verb.FREEZE, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.FROZEN)
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    await world.ask(Verb.THAW, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.RUNNING)
    assert world.announced["relay-1"] == pid


async def test_what_is_frozen_can_be_stopped(world: World) -> None:
    pid = world.announced["relay-1"]
    await world.ask(Verb.FREEZE, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.FROZEN)
    await world.ask(Verb.STOP, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.STOPPED)
    assert not psutil.pid_exists(pid)
    assert "killed" not in world.said.getvalue()


async def test_what_is_killed_is_started_again(world: World) -> None:
    before = world.announced["relay-1"]
    await world.ask(Verb.KILL, "relay-1")
    await world.until(lambda: world.announced["relay-1"] != before)
    assert "relay-1 died (SIGKILL)" in world.said.getvalue()


async def test_wrong_names_and_spared_parts_are_refused_in_words(world: World) -> None:
    before = dict(world.announced)
    with pytest.raises(Refused, match="no part 'nonsense'"):
        await world.ask(Verb.KILL, "nonsense")
    with pytest.raises(Refused, match="serves this page"):
        await world.ask(Verb.STOP, "web")
    with pytest.raises(Refused, match="followed by the name of one part"):
        await world.ask(Verb.KILL)
    assert world.announced == before


@pytest.mark.parametrize(
    "sent",
    [
        *(b"", b"\n", b"dance relay-1\n", b"stop\n", b"stop relay-1 web\n", b"list everything\n"),
        *(b"\xff\xfe\x00\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"stop relay-1", b"x" * 100_000),
    ],
)
async def test_rubbish_is_answered_in_words_and_does_nothing(world: World, sent: bytes) -> None:
    before = dict(world.announced)
    reader, writer = await asyncio.open_unix_connection(str(world.path))
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert b'"error"' in answer
    assert (await world.ask(Verb.LIST))["relay-1"].state == PartState.RUNNING
    assert world.announced == before


async def test_a_silent_peer_holds_nobody_up(world: World) -> None:
    reader, writer = await asyncio.open_unix_connection(str(world.path))
    assert set(await world.ask(Verb.LIST)) == {"relay-1", "web"}
    async with asyncio.timeout(10):
        assert b'"error"' in await reader.read()
    writer.close()


async def test_a_peer_that_goes_away_leaves_the_channel_well(world: World) -> None:
    for _ in range(20):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.connect(str(world.path))
            peer.sendall(b"list\n")
    assert set(await world.ask(Verb.LIST)) == {"relay-1", "web"}


async def test_many_at_once_leave_one_process(world: World) -> None:
    verbs = [Verb.STOP, Verb.START, Verb.KILL, Verb.FREEZE, Verb.THAW, Verb.START] * 3
    await asyncio.gather(*(world.ask(verb, "relay-1") for verb in verbs))
    await world.ask(Verb.THAW, "relay-1")
    await world.ask(Verb.START, "relay-1")
    await world.until(lambda: world.state("relay-1") == PartState.RUNNING)
    mine = [one for one in psutil.Process().children() if one.cmdline()[-1:] == [SLEEPER]]
    assert len(mine) == 2
    assert world.announced["relay-1"] in {one.pid for one in mine}


async def test_the_end_takes_frozen_and_stopped_parts_with_it(tmp_path: Path, settings: Settings) -> None:
    path = socket_path(tmp_path)
    settings.DEMO_CONTROL = str(path)
    world = World(path, tmp_path)
    world.supervisor.start(failed=lambda error: None)
    world.supervisor.announce(world.note)  # type: ignore[arg-type]
    async with control_channel(path, supervisor=world.supervisor, output=world.output):
        await world.until_listening()
        pids = list(world.announced.values())
        os.kill(world.announced["web"], signal.SIGSTOP)
        await world.ask(Verb.STOP, "relay-1")
    with pytest.raises(Away):
        await world.ask(Verb.LIST)
    async with asyncio.timeout(10):
        await world.supervisor.end()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert "did not end" not in world.said.getvalue()


async def test_what_does_not_stop_is_killed(tmp_path: Path, settings: Settings) -> None:
    path = socket_path(tmp_path)
    settings.DEMO_CONTROL = str(path)
    world = World(path, tmp_path, STUBBORN)
    world.supervisor.start(failed=lambda error: None)
    try:
        async with control_channel(path, supervisor=world.supervisor, output=world.output):
            await world.until_listening()
            await world.ask(Verb.STOP, "relay-1")
            assert world.state("relay-1") == PartState.STOPPING
            await world.until(lambda: world.state("relay-1") == PartState.STOPPED)
    finally:
        world.supervisor.end_at_once()
        await world.supervisor.end()
    assert "relay-1 did not stop within 5 s: killed" in world.said.getvalue()


def test_a_folder_with_a_long_name_has_its_socket_elsewhere(tmp_path: Path) -> None:
    assert socket_path(tmp_path) == tmp_path / "control.sock"
    path = socket_path(tmp_path / ("long" * 40))
    try:
        assert len(str(path)) <= LONGEST_PATH
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        path.parent.rmdir()
