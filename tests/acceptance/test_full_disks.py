"""The database's disk is full, then Kafka's: relays say so, wait, and go on when there is room again."""

from contextlib import suppress

import psycopg

from tests.acceptance.relays import Relays, check, running_relays, temporary_folder
from tests.engine import until
from tests.small_disk import SmallDisk, small_disk


def test_relays_wait_for_room_and_skip_and_reorder_nothing() -> None:
    with (
        temporary_folder() as folder,
        small_disk(folder / "postgres", megabytes=250) as of_postgres,
        small_disk(folder / "kafka" / "data", megabytes=100) as of_kafka,
        running_relays(within=folder) as relays,
    ):
        relays.start_load()
        until(lambda: relays.query("SELECT count(*) FROM outbox_event")[0][0] > 200)
        _no_room_for_traces(relays, of_postgres)
        _no_room_for_the_log_of_transactions(relays, of_postgres)
        _no_room_in_kafka(relays, of_kafka)
        relays.end_load()
        check(relays)


def _no_room_for_traces(relays: Relays, disk: SmallDisk) -> None:
    """PostgreSQL refuses what needs a new block, and goes on."""
    disk.fill()
    relays.start("relay")
    until(lambda: "waiting: could not extend file" in relays.log())
    assert "No space left on device" in relays.log()
    assert relays.traced() == 0
    disk.make_room()
    relays.go_on()


def _no_room_for_the_log_of_transactions(relays: Relays, disk: SmallDisk) -> None:
    """PostgreSQL crashes, and ends in recovering."""
    disk.fill()
    until(lambda: _has_ended(relays), seconds=60)
    disk.make_room()
    relays.stack.postgres.start()
    relays.go_on()


def _has_ended(relays: Relays) -> bool:
    with suppress(psycopg.Error):
        relays.query("SELECT pg_switch_wal()")
    return not relays.stack.postgres.alive


def _no_room_in_kafka(relays: Relays, disk: SmallDisk) -> None:
    """A broker whose only disk fails halts."""
    disk.fill()
    until(lambda: not relays.stack.kafka.alive, seconds=60)
    until(lambda: "Kafka does not answer" in relays.log())
    disk.make_room()
    relays.stack.kafka.start()
    relays.go_on()
