"""A database that was set back, restored from a dump or copied: a relay sends nothing before it is told."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack.postgres import binary
from tests.acceptance.relays import Relays, check, running_relays
from tests.engine import until


@pytest.fixture
def relays() -> Iterator[Relays]:
    with running_relays() as relays:
        yield relays


def publish_some(relays: Relays) -> None:
    """For a while; what was published last may wait for a relay."""
    before = written(relays)
    relays.start_load()
    until(lambda: written(relays) > before + 100)
    relays.end_load()


def written(relays: Relays) -> int:
    return int(relays.query("SELECT count(*) FROM outbox_event")[0][0])


def send_all(relays: Relays) -> None:
    relays.start("relay")
    until(lambda: relays.traced() == written(relays), seconds=60)
    assert relays.end("relay") == 0, relays.log()


def data(relays: Relays) -> Path:
    return relays.stack.folder / "postgres" / "data"


def copied(source: Path, target: Path) -> None:
    """With its owner, who is not the one of this process."""
    subprocess.run(["cp", "--archive", source, target], check=True)


def test_a_database_set_back_to_an_earlier_moment(relays: Relays) -> None:
    publish_some(relays)
    send_all(relays)
    backup = relays.stack.folder / "backup"
    relays.stack.postgres.stop()
    copied(data(relays), backup)
    relays.stack.postgres.start()
    publish_some(relays)
    send_all(relays)
    sent = {event_id for (event_id,) in relays.query("SELECT id::text FROM outbox_event")}
    publish_some(relays)  # and these nobody has ever seen

    relays.stack.postgres.stop()
    shutil.rmtree(data(relays))
    copied(backup, data(relays))
    relays.stack.postgres.start()
    kept = {event_id for (event_id,) in relays.query("SELECT id::text FROM outbox_event")}
    assert kept < sent
    publish_some(relays)
    said = relays.said("run_relay")
    assert "Kafka has events from /eventsite that this database has never written" in said
    assert relays.traced() == len(kept)

    # What was published since has numbers that Kafka knows as others'.
    relays.manage("relay", "adopt", "backup")
    publish_some(relays)
    send_all(relays)
    check(relays, lost=sent - kept)


def test_a_dump_restored_beside_its_original(relays: Relays) -> None:
    publish_some(relays)
    send_all(relays)
    publish_some(relays)
    relays.lead_to(restored(relays.stack.database_url))
    assert "another database" in relays.said("run_relay")
    assert "one of its own" in relays.said("relay", "adopt", "clone")
    assert "all along" in relays.said("relay", "adopt", "kafka")
    relays.manage("relay", "adopt", "dump")
    send_all(relays)
    publish_some(relays)
    send_all(relays)
    check(relays)
    # Now the original is the one that does not know what Kafka has.
    relays.lead_to(relays.stack.database_url)
    assert "never written" in relays.said("run_relay")


def restored(database_url: str) -> str:
    """A dump of a database, restored into another one of the same server; its URL."""
    other = urlsplit(database_url)._replace(path="/restored").geturl()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    dump = subprocess.run([binary("pg_dump"), database_url], check=True, capture_output=True).stdout
    subprocess.run(
        [binary("psql"), "--quiet", "--set", "ON_ERROR_STOP=1", other],
        input=dump,
        check=True,
        capture_output=True,
    )
    return other
