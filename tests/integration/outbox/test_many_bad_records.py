"""Many bad records in a row, by a real Kafka and through a real process: they hold up and pile up nothing.

EVENTSITE_BAD_RECORDS says how many; a few by default, so that the suite stays quick.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from django.db import connection

from outbox import Topic
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, OutboxEvent, ParkedKey, WaitingEvent
from tests.engine import Noted, new_topic, noted_on, record_of, send, until
from tests.servers import PROJECT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

BAD = int(os.environ.get("EVENTSITE_BAD_RECORDS", "10000"))
AT_ONCE = 5_000


@contextmanager
def consuming(topic: Topic, consumer: str, *, log: Path) -> Iterator[psutil.Process]:
    """An instance of the consumer, stopped in order at the end."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.outbox.deadly", topic.name, consumer],
            cwd=PROJECT,
            env={**os.environ, "TEST_DATABASE": str(connection.settings_dict["NAME"])},
            stdout=said,
            stderr=said,
        )
        try:
            yield psutil.Process(process.pid)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def most_memory(process: psutil.Process) -> int:
    """The most that it has had in memory since it was started, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1_024


def bad_record(topic: Topic, event: type[Noted], number: int) -> Record:
    """One of the kinds that there are, most with a key of their own."""
    partition, key, moment = number % 2, f"bad-{number}", datetime.now(UTC)
    if number % 4 == 0:
        return Record(topic.name, partition, 0, None, b"\x00garbage", [("ce_id", b"\xff")], moment)
    if number % 4 == 1:
        return Record(topic.name, partition, 0, key.encode(), b"?", [], moment)
    headers = {"ce_specversion": b"0.3"} if number % 4 == 2 else {}
    record = record_of(event(about=key), partition=partition, headers={**headers})
    return Record(topic.name, partition, 0, record.key, b'{"about": 7}', record.headers, moment)


def good_records(event: type[Noted], *, numbers: range) -> list[Record]:
    return [
        record_of(event(about=key, text=f"effect {key} {number}"), number=number, partition=ord(key) % 2)
        for number in numbers
        for key in "abcd"
    ]


def test_a_hundred_thousand_bad_records_in_a_row_hold_up_nothing_and_pile_up_nowhere(tmp_path: Path) -> None:
    topic, consumer = new_topic(partitions=2), f"patient-{uuid4().hex[:8]}"
    event = noted_on(topic)

    def processed() -> int:
        return InboxEntry.objects.filter(consumer=consumer, outcome="processed").count()

    with consuming(topic, consumer, log=tmp_path / "log") as process:
        send(*good_records(event, numbers=range(1, 3)))
        until(lambda: processed() == 8, seconds=60)
        before = most_memory(process)
        for start in range(0, BAD, AT_ONCE):
            send(*(bad_record(topic, event, number) for number in range(start, min(start + AT_ONCE, BAD))))
        send(*good_records(event, numbers=range(3, 13)))
        until(lambda: processed() == 48, seconds=60 + BAD / 100, every=0.5)
        assert most_memory(process) - before < 200
    assert DeadLetter.objects.filter(consumer=consumer, state="open").count() == BAD
    assert InboxEntry.objects.filter(consumer=consumer).count() == BAD + 48
    assert ParkedKey.objects.filter(consumer=consumer).count() == BAD - len(range(0, BAD, 4))
    assert not WaitingEvent.objects.exists()
    effects = OutboxEvent.objects.filter(key="effects").values_list("payload", flat=True)
    told = [Noted.from_json(bytes(payload)).text for payload in effects]  # type: ignore[attr-defined]
    assert len(told) == len(set(told)) == 48
