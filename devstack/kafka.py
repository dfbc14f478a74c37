"""Apache Kafka out of Maven Central's jars, on a Java runtime out of a Python wheel."""

import os
import secrets
import signal
import socket
import struct
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import ClassVar

from devstack.errors import ServerFailed
from devstack.jars import JarCache
from devstack.java import Java
from devstack.leftovers import marker
from devstack.ports import HOST
from devstack.process import ServerProcess, run_once
from devstack.progress import Progress, Step
from devstack.server import EmbeddedServer

NODE = 1
# One node: everything Kafka keeps for itself has one copy in one partition, and nobody else is waited for.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": NODE,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    # After a SIGKILL the controller waits for the old broker's session to end: 11 s by default.
    "broker.session.timeout.ms": 1000,
    "broker.heartbeat.interval.ms": 250,
}
LOGGING_FILE = "log4j2.properties"
LOGGING = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


class Kafka(EmbeddedServer):
    """One broker and controller in KRaft mode. What it acknowledged survives a SIGKILL."""

    name: ClassVar[str] = "Kafka"
    port_names: ClassVar[tuple[str, ...]] = ("broker", "controller")
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout: ClassVar[float] = 90
    stop_timeout: ClassVar[float] = 8

    def __init__(self, stack_folder: Path, *, jars: JarCache, progress: Progress) -> None:
        super().__init__(stack_folder, stack_folder / "kafka", progress=progress)
        self._jars = jars
        self._java = Java(jars)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def _prepare(self) -> None:
        self._jars.ensure(self._progress)

    def _launch(self) -> None:
        self._write_settings()
        self._java.recall()
        if not (self.data / "meta.properties").exists():
            self._format()
        self._train()
        super()._launch()

    def _spawn(self, process: ServerProcess) -> None:
        self._spawn_with(process, self._java.fast_start)

    def _spawn_with(self, process: ServerProcess, flags: tuple[str, ...]) -> None:
        command = self._command("kafka.Kafka", self._settings_file, flags=flags)
        process.spawn(command, env=_environment(), cwd=self.folder)

    def _train(self) -> None:
        def spawn(flags: tuple[str, ...]) -> ServerProcess:
            process = ServerProcess(self.name, log=self.log)
            self._spawn_with(process, flags)
            return process

        try:
            self._java.train(spawn, ready=self._ready_or_cancelled, progress=self._progress)
        except ServerFailed as error:
            # Kafka runs without it; if Kafka itself is what failed, the start that follows says so.
            self._progress.report(Step(f"Starts stay slow: {error}"))

    def _is_ready(self) -> bool:
        return serves_groups(self.port)

    def _format(self) -> None:
        self._progress.report(Step("Preparing Kafka's storage"))
        cluster = urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
        run_once(
            self._command(
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",
                "--ignore-formatted",
                "--config",
                self._settings_file,
                flags=self._java.fast_start,
            ),
            what="Preparing Kafka's storage",
            env=_environment(),
            cwd=self.folder,
        )

    def _write_settings(self) -> None:
        broker, controller = (f"{HOST}:{self.ports[name]}" for name in self.port_names)
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "controller.quorum.voters": f"{NODE}@{controller}",
            # Relative to where it runs: a path may hold a comma or an accent, which this file cannot.
            "log.dirs": self.data.name,
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        self._settings_file.write_text("".join(lines), encoding="utf-8")
        (self.folder / LOGGING_FILE).write_text(LOGGING, encoding="utf-8")

    @property
    def _settings_file(self) -> Path:
        return self.folder / "server.properties"

    def _command(
        self, main_class: str, *arguments: str | Path, flags: tuple[str, ...] = ()
    ) -> list[str | Path]:
        properties = (
            f"-D{marker(self.stack_folder)}",
            f"-Dlog4j2.configurationFile={LOGGING_FILE}",
        )
        return self._java.command(main_class, *arguments, flags=(*flags, *properties))


def serves_groups(port: int) -> bool:
    """Whether the broker there names a coordinator for consumer groups (FindCoordinator, version 0).

    An open port is not enough: librdkafka backs off for up to 10 s when its first request fails. And asking
    makes a new broker create the topic of the groups' offsets, for which its first consumer would wait 3 s.
    """
    api, api_version, correlation, no_client = 10, 0, 1, -1
    group = b"devstack"
    request = struct.pack(f">hhihh{len(group)}s", api, api_version, correlation, no_client, len(group), group)
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(10, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (correlation, 0)


def _environment() -> dict[str, str]:
    """Nothing of the caller's JAVA_* and KAFKA_* variables, which the runtime and its jars would obey."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
