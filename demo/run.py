"""The demo from its first step to its last."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from rich.console import Console

from demo import panel, parts
from demo.accounts import Accounts
from demo.child import Child
from demo.control import control_channel, socket_path
from demo.errors import PortInUse, SetUpFailed
from demo.output import Output
from demo.readiness import until_ready
from demo.starting import shown
from demo.status import DemoFile, remove_demo_file
from demo.supervisor import Supervisor
from demo.traffic import play
from devstack.ports import HOST, find_port, is_free
from devstack.stack import Stack
from outbox.registry import all_consumers

PREFERRED_PORT = 8000
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. `port` None takes 8000 or, when that is taken, another."""

    folder: Path
    port: int | None = None
    traffic: bool = False


def run_demo(options: Options) -> None:
    """Run until Ctrl-C or SIGTERM, and leave nothing running.

    Raises DevstackError when the servers do not start, DemoError when the rest does not.
    """
    began = time.monotonic()
    if options.port and not is_free(options.port):
        raise PortInUse(
            f"Port {options.port} of {HOST} is in use: end the program there, or leave --port out."
        )
    output = Output()
    console = Console(force_terminal=output.coloured or None)
    # Until the event loop takes over, every signal to end is as Ctrl-C: the servers' start gives up.
    for number in END_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        with shown(output, console) as listener:
            stack = Stack(
                options.folder,
                jars=settings.DEVSTACK_DIR / "jars",
                environ=_environment(),
                progress=listener,
            )
            stack.start()
        try:
            # After the start, which waits for the lock: the file of another demo that runs here is not ours.
            remove_demo_file(stack.folder)
            asyncio.run(Demo(options, stack=stack, output=output, console=console, began=began).run())
        finally:
            remove_demo_file(stack.folder)
            stack.stop()
    output.say("all has ended")


class Demo:
    """The part that runs in the event loop: children, readiness, the end."""

    def __init__(
        self, options: Options, *, stack: Stack, output: Output, console: Console, began: float
    ) -> None:
        self._traffic = options.traffic
        self._stack = stack
        self._output = output
        self._console = console
        self._began = began
        self._environment = {**_environment(), **stack.environment(), **_colours(output)}
        self._port = options.port or find_port(preferred=PREFERRED_PORT)
        self._url = f"http://{HOST}:{self._port}"
        self._consumers = all_consumers()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Run until a signal asks to end. Raises DemoError when the demo does not get ready."""
        names = [consumer.name for consumer in self._consumers]
        control = socket_path(self._stack.folder)
        self._parts = list(parts.parts(self._stack.folder, port=self._port, consumers=names, control=control))
        supervisor = Supervisor(
            children=[self._child(part) for part in self._parts],
            stack=self._stack,
            output=self._output,
        )
        self._task = asyncio.create_task(self._main(supervisor))
        self._end_on_signals(supervisor)
        try:
            async with control_channel(control, supervisor=supervisor, output=self._output):
                await self._task
        except asyncio.CancelledError:
            if self._failure:
                raise self._failure from None
        finally:
            if control.parent != self._stack.folder:
                control.parent.rmdir()
            remove_demo_file(self._stack.folder)
            self._output.say("ending")
            await supervisor.end()

    async def _main(self, supervisor: Supervisor) -> None:
        await self._prepare()
        supervisor.start(failed=self._fail)
        await until_ready(
            url=self._url,
            kafka=self._stack.kafka_bootstrap,
            consumers=self._consumers,
            processes=supervisor.processes,
        )
        accounts = Accounts.read(self._stack.folder)
        file = DemoFile(
            folder=self._stack.folder,
            url=self._url,
            accounts=accounts,
            kafka=self._stack.kafka_bootstrap,
            database=self._stack.database_url,
        )
        supervisor.announce(file.write)
        seconds = time.monotonic() - self._began
        ports = {part.name: part.metrics_port for part in self._parts}
        panel.show(self._console, url=self._url, accounts=accounts, metrics=ports, seconds=seconds)
        if self._traffic:
            tokens = [merchant.token for merchant in accounts.merchants]
            await play(url=self._url, tokens=tokens, say=partial(self._output.say, name="traffic"))
        await asyncio.Event().wait()

    async def _prepare(self) -> None:
        setup = self._child(parts.preparation(self._stack.folder))
        try:
            if await setup.run() != 0:
                raise SetUpFailed
        finally:
            setup.kill()

    def _child(self, part: parts.Part) -> Child:
        return Child(part, folder=settings.BASE_DIR, environment=self._environment, output=self._output)

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._task.cancel()

    def _end_on_signals(self, supervisor: Supervisor) -> None:
        asked = False

        def ask() -> None:
            nonlocal asked
            if asked:
                supervisor.end_at_once()
            asked = True
            self._task.cancel()

        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            loop.add_signal_handler(number, ask)


def _environment() -> dict[str, str]:
    """Our own environment, without what a demo in another folder has lent to the settings."""
    return {name: value for name, value in os.environ.items() if name not in settings.BORROWED_VARIABLES}


def _colours(output: Output) -> dict[str, str]:
    """Children write into a pipe, and cannot see whether a terminal shows it."""
    return {"PYTHONUNBUFFERED": "1", **({"FORCE_COLOR": "1"} if output.coloured else {})}
