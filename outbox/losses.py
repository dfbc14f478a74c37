"""What a consumer never got: records that Kafka deleted before it came to them, and gaps that last too long.

Both are said once, in the log, and listed. Of a key whose events were lost later ones wait behind a gap.
"""

import logging
import time

from django.db import connections

from outbox.consumer_models import LostStretch
from outbox.kafka import Stretch
from outbox.registry import Consumer

LOOK_SECONDS = 5.0

_ALARM = """
UPDATE outbox_parked_key AS parked SET alarmed_at = clock_timestamp() FROM (
    SELECT consumer, generation, topic, key, progress.number
    FROM outbox_parked_key LEFT JOIN outbox_key_progress AS progress USING (consumer, generation, topic, key)
    WHERE consumer = %s AND cause = 'gap' AND alarmed_at IS NULL
        AND parked_at < clock_timestamp() - make_interval(secs => %s)
    FOR UPDATE OF outbox_parked_key SKIP LOCKED
) AS late WHERE (parked.consumer, parked.generation, parked.topic, parked.key)
    = (late.consumer, late.generation, late.topic, late.key)
RETURNING parked.topic, parked.key, parked.parked_at, late.number
"""

logger = logging.getLogger(__name__)


class Losses:
    """What one instance notices: `note` remembers it, `tell` writes it down.

    alarm_after  seconds for which a key may wait behind a gap before that is alarming
    """

    def __init__(self, consumer: Consumer, *, group: str, alarm_after: float) -> None:
        self._consumer = consumer
        self._group = group
        self._alarm_after = alarm_after
        self._noted: list[Stretch] = []
        self._looked_at = -LOOK_SECONDS

    def note(self, stretches: list[Stretch]) -> None:
        """Say at once what Kafka has deleted unread."""
        for lost in stretches:
            logger.error(
                "consumer %s: Kafka deleted %s/%s, offsets %s to %s, before they were read (retention, or an"
                " offset set back): %s records are skipped; keys that miss events wait behind a gap",
                self._group,
                lost.topic,
                lost.partition,
                lost.first,
                lost.last,
                lost.last - lost.first + 1,
            )
        self._noted += stretches

    def tell(self) -> None:
        """List what was noted, and alarm gaps that last too long. Raises the database's errors."""
        if self._noted:
            LostStretch.objects.using(self._consumer.using).bulk_create(
                LostStretch(
                    consumer_group=self._group,
                    topic=lost.topic,
                    partition=lost.partition,
                    first=lost.first,
                    last=lost.last,
                )
                for lost in self._noted
            )
            self._noted = []
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._alarm()
            self._looked_at = time.monotonic()

    def _alarm(self) -> None:
        with connections[self._consumer.using].cursor() as sql:
            sql.execute(_ALARM, [self._consumer.name, self._alarm_after])
            for topic, key, since, number in sql.fetchall():
                logger.error(
                    "consumer %s: key %s of %s waits for its event %s since %s: look for it in Kafka, and in"
                    " outbox_refusal",
                    self._consumer.name,
                    key,
                    topic,
                    (number or 0) + 1,
                    f"{since:%Y-%m-%d %H:%M:%S} UTC",
                )
