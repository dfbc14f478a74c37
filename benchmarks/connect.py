"""Debezium's PostgreSQL connector and outbox event router on our table, in a Kafka Connect of its own."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import psycopg

from devstack.jars import JarCache
from devstack.java import binary
from devstack.kafka import LOGGING, LOGGING_FILE
from devstack.leftovers import marker
from devstack.ports import HOST, find_port
from devstack.process import ServerProcess
from devstack.stack import Stack

PREFIX = "debezium."
NAME = "debezium"
STOP_TIMEOUT = 30.0
# Lines of the log, from its first error on.
SAID = 20
# What Kafka's own scripts give Connect.
JAVA_FLAGS = (
    "-Xms256M",
    "-Xmx2G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
# What our records have, but for `ce_specversion`; the router itself adds `id`.
HEADERS = {
    "ce_source": "source",
    "ce_type": "type",
    "ce_time": "occurred_at",
    "ce_subject": "key",
    "ce_partitionkey": "key",
    "ce_correlationid": "correlation_id",
    "ce_causationid": "causation_id",
    "ce_sequence": "number",
    "ce_traceparent": "traceparent",
    "content-type": "content_type",
}
COLUMNS = ("id", "topic", "payload", *dict.fromkeys(HEADERS.values()))
CONNECTOR = {
    "name": NAME,
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": 1,
    "topic.prefix": NAME,
    "plugin.name": "pgoutput",
    "slot.name": NAME,
    "publication.name": NAME,
    "publication.autocreate.mode": "disabled",
    "table.include.list": "public.outbox_event",
    # The slot is there before the connector, and holds all that is to be relayed.
    "snapshot.mode": "no_data",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "io.debezium.converters.BinaryDataConverter",
    "header.converter": "org.apache.kafka.connect.storage.StringConverter",
    "transforms": "outbox",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    "transforms.outbox.table.field.event.id": "id",
    "transforms.outbox.table.field.event.key": "key",
    "transforms.outbox.table.field.event.payload": "payload",
    "transforms.outbox.route.by.field": "topic",
    "transforms.outbox.route.topic.replacement": PREFIX + "${routedByValue}",
    "transforms.outbox.table.fields.additional.placement": ",".join(
        f"{column}:header:{name}" for name, column in HEADERS.items()
    ),
}
# As our relay sends; and queues and batches in which Debezium gets further than with its defaults.
TUNING = {
    "max.batch.size": 8_192,
    "max.queue.size": 32_768,
    "poll.interval.ms": 10,
    # Four headers more, of which only its lineage makes use.
    "extended.headers.enabled": "false",
    # Else a large transaction is written to disk before it is decoded.
    "driver.options": "-c logical_decoding_work_mem=512MB",
    "producer.override.acks": "all",
    "producer.override.enable.idempotence": "true",
    "producer.override.max.in.flight.requests.per.connection": 5,
    "producer.override.compression.type": "lz4",
    "producer.override.linger.ms": 0,
    "producer.override.batch.size": 1_000_000,
    "producer.override.buffer.memory": 128_000_000,
}


class Debezium:
    """A connector that begins where its slot is made; a process at a time."""

    def __init__(self, stack: Stack, *, jars: JarCache, tuning: Mapping[str, object]) -> None:
        self._stack = stack
        self._jars = jars
        self._tuning = tuning
        self._folder = stack.folder / "connect"

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A publication of the table and a slot: what is committed from now on will be relayed."""
        with psycopg.connect(self._stack.database_url, autocommit=True) as connection:
            connection.execute(
                f"CREATE PUBLICATION {NAME} FOR TABLE outbox_event ({', '.join(COLUMNS)})"
                " WITH (publish = 'insert', publish_via_partition_root = true)"
            )
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [NAME])
            try:
                yield
            finally:
                # PostgreSQL may not have noticed yet that the connector is gone.
                connection.execute(
                    "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
                    " WHERE slot_name = %s AND active",
                    [NAME],
                )
                connection.execute("SELECT pg_drop_replication_slot(%s)", [NAME])
                connection.execute(f"DROP PUBLICATION {NAME}")

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """The process, from its very start: it relays nothing yet."""
        self._write_settings()
        process = ServerProcess("Kafka Connect", log=self._folder / "connect.log")
        class_path = os.pathsep.join(map(str, self._jars.paths))
        process.spawn(
            [
                binary(), *JAVA_FLAGS, f"-D{marker(self._stack.folder)}",
                f"-Dlog4j2.configurationFile={LOGGING_FILE}", "-cp", class_path,
                "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "connector.properties",
            ],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            cwd=self._folder,
        )  # fmt: skip
        try:
            if process.pid is None:
                raise process.failure("Kafka Connect did not start.")
            yield psutil.Process(process.pid)
        except (psutil.NoSuchProcess, TimeoutError) as error:
            _, _, said = process.log.read_text(encoding="utf-8").partition(" ERROR ")
            lines = said.splitlines()[:SAID]
            raise RuntimeError("\n".join(["Debezium did not relay everything.", *lines])) from error
        finally:
            process.signal(signal.SIGTERM)
            process.wait_end(timeout=STOP_TIMEOUT)

    def _write_settings(self) -> None:
        self._folder.mkdir(exist_ok=True)
        # Its offsets are those of a slot that is gone.
        (self._folder / "offsets").unlink(missing_ok=True)
        address = urlsplit(self._stack.database_url)
        worker = {
            "bootstrap.servers": self._stack.kafka_bootstrap,
            "listeners": f"http://{HOST}:{find_port()}",
            "offset.storage.file.filename": "offsets",
            "key.converter": CONNECTOR["key.converter"],
            "value.converter": CONNECTOR["value.converter"],
            # The quickest start: no class is looked for in every jar.
            "plugin.discovery": "service_load",
        }
        connector = {
            **CONNECTOR,
            "database.hostname": address.hostname,
            "database.port": address.port,
            "database.user": address.username,
            "database.password": address.password,
            "database.dbname": address.path.removeprefix("/"),
            **self._tuning,
        }
        for name, settings in (("worker", worker), ("connector", connector)):
            lines = [f"{option}={value}\n" for option, value in settings.items()]
            (self._folder / f"{name}.properties").write_text("".join(lines), encoding="utf-8")
        (self._folder / LOGGING_FILE).write_text(LOGGING, encoding="utf-8")
