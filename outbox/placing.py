"""Where the relay sends a record: the partition of its key, an explicit one, or the next in turn."""

from django.db import connections

from outbox.errors import UnknownTopic
from outbox.kafka import Placement
from outbox.keys import partition_of
from outbox.window import OutboxRecord


class Placing:
    """Spreads keys over the recorded partition counts, which only `topics apply` raises."""

    def __init__(self, *, using: str) -> None:
        self._using = using
        self._counts: dict[str, int] = {}
        self._turn = 0

    def is_outdated(self) -> bool:
        """Whether the recorded count of a topic that has been used is another one by now."""
        fresh = self._recorded()
        return any(fresh.get(topic) != count for topic, count in self._counts.items())

    def refresh(self) -> None:
        """Take the counts as they are recorded now. With records under way keys would be out of order."""
        self._counts = self._recorded()

    def _recorded(self) -> dict[str, int]:
        with connections[self._using].cursor() as sql:
            sql.execute("SELECT name, partitions FROM outbox_topic")
            return dict(sql.fetchall())

    def places(self, records: list[OutboxRecord]) -> list[Placement]:
        """The topic and partition of each record.

        Raises UnknownTopic, before any is sent: a topic that is not there yet must not have half a page sent
        again and again.
        """
        if any(record.topic not in self._counts for record in records):
            self._counts = {**self._recorded(), **self._counts}
        counts = self._counts
        try:
            return [
                (record.topic, record.hash % counts[record.topic])
                if record.hash is not None
                else (record.topic, self._partition(record))
                for record in records
            ]
        except KeyError as error:
            raise UnknownTopic(
                f"Topic {error.args[0]!r} has not been created: run `manage.py topics apply`."
            ) from None

    def _partition(self, record: OutboxRecord) -> int:
        count = self._counts[record.topic]
        if record.key is not None:
            return partition_of(record.key.decode(), count)
        if record.partition is not None:
            return record.partition
        self._turn += 1
        return self._turn % count
