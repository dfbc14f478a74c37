"""How far every consumer is behind, whether anybody reads for it, and whether it is paused.

The figures are those of outbox/lag.py, by the same rules, less what the flow does not show: in one statement,
because it is asked once a second. A test holds them to be the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.lateness import Lateness, oldest_age
from outbox.members import PRESENT
from outbox.oldest_left import SLACK, TRACES
from outbox.pausing import Pause
from outbox.positions import AlarmCause
from outbox.registry import all_consumers
from outbox.unpublished import Oldest


@dataclass(frozen=True, slots=True)
class Behind:
    """A consumer at one moment.

    events   that Kafka has and it has yet to process; None while it is not known of a partition
    seconds  the age of the oldest of them; 0 when there is none, None while it is not known (`oldest_age`)
    unsent   the age of the oldest event of its topics that no relay has sent yet, in seconds; 0 for none
    members  how many of its instances are there
    """

    events: int | None = 0
    seconds: float | None = 0.0
    unsent: float = 0.0
    members: int = 0
    alarms: frozenset[AlarmCause] = frozenset()
    pause: Pause | None = None

    def wait(self, *, limit: float, unsent_known: bool = True) -> Lateness:
        """How long the oldest event that it has yet to process has waited, in Kafka and for a relay."""
        return Lateness(self.seconds, self.unsent if unsent_known else None, limit)


_STANDING = """
WITH asked AS (
    SELECT * FROM unnest(%(consumers)s::text[], %(topics)s::text[]) AS one (consumer, topic)
), part AS (
    SELECT consumer, topic, partition FROM asked JOIN outbox_partition_end USING (topic)
    UNION SELECT consumer, topic, generate_series(0, recorded.partitions - 1)
        FROM asked JOIN outbox_topic AS recorded ON recorded.name = asked.topic
    UNION SELECT consumer, topic, partition FROM asked JOIN outbox_consumer_position USING (consumer, topic)
), place AS (
    SELECT part.consumer, ends.next_offset - least(coalesce(known.reached, 0), ends.next_offset) AS events,
        CASE WHEN coalesce(known.reached, 0) >= ends.next_offset THEN interval '0'
            WHEN known.reached < ends.next_offset
            THEN clock_timestamp() - coalesce(oldest.occurred_at, known.clear_until) END AS age
    FROM part LEFT JOIN outbox_partition_end AS ends USING (topic, partition)
    LEFT JOIN outbox_consumer_position AS known USING (consumer, topic, partition)
    LEFT JOIN LATERAL (
        SELECT event.occurred_at
        FROM (
            SELECT event_id, partition, "offset" FROM outbox_publication
            WHERE event_id >= (lpad(to_hex(trunc(1000 * extract(epoch FROM
                        known.clear_until - make_interval(secs => %(slack)s)))::bigint), 12, '0')
                    || '00000000000000000000')::uuid
            ORDER BY event_id LIMIT %(traces)s
        ) AS trace JOIN outbox_event AS event ON event.id = trace.event_id
        WHERE trace.partition = known.partition AND trace."offset" >= known.reached
            AND event.topic = known.topic
        ORDER BY trace.event_id LIMIT 1
    ) AS oldest ON known.reached < ends.next_offset
        AND known.reported_at < clock_timestamp() - make_interval(secs => %(present)s)
)
SELECT every.consumer, CASE WHEN bool_and(place.events IS NOT NULL) THEN sum(place.events) END,
    coalesce(extract(epoch FROM max(place.age)), 0), bool_and(place.age IS NOT NULL),
    (SELECT count(*) FROM outbox_consumer_member AS member WHERE member.consumer = every.consumer
        AND member.seen_at > clock_timestamp() - make_interval(secs => %(present)s)),
    ARRAY(SELECT cause FROM outbox_alarm AS alarm WHERE alarm.subject = every.consumer
        AND alarm.cause = ANY(%(causes)s) AND alarm.ended_at IS NULL),
    state.paused_at, state.paused_by, state.reason
FROM unnest(%(names)s::text[]) AS every (consumer) LEFT JOIN place USING (consumer)
    LEFT JOIN outbox_consumer AS state ON state.name = every.consumer
GROUP BY every.consumer, state.paused_at, state.paused_by, state.reason
"""


def all_behind(
    *, now: datetime, unsent: Mapping[str, Oldest], using: str = DEFAULT_DB_ALIAS
) -> dict[str, Behind]:
    """Every declared consumer by name; `unsent` tells of the topics' events that wait for a relay."""
    consumers = all_consumers()
    pairs = [(consumer.name, topic) for consumer in consumers for topic in consumer.topics]
    with connections[using].cursor() as cursor:
        cursor.execute(
            _STANDING,
            {
                "names": [consumer.name for consumer in consumers],
                "causes": AlarmCause.values,
                "consumers": [name for name, _ in pairs],
                "topics": [topic for _, topic in pairs],
                "present": PRESENT.total_seconds(),
                "slack": SLACK.total_seconds(),
                "traces": TRACES,
            },
        )
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    found = {}
    for consumer in consumers:
        events, seconds, all_known, members, alarms, paused_at, by, reason = rows[consumer.name]
        ages = [max(float(seconds), 0.0), *([] if all_known else [None])]
        unsent_ages = [
            (now - unsent[topic].happened_at).total_seconds() for topic in consumer.topics if topic in unsent
        ]
        found[consumer.name] = Behind(
            events=None if events is None else int(events),
            seconds=oldest_age(ages, limit=consumer.sync_delay_limit.total_seconds()),
            unsent=max([0.0, *unsent_ages]),
            members=members,
            alarms=frozenset(map(AlarmCause, alarms)),
            pause=None if paused_at is None else Pause(paused_at, by, reason),
        )
    return found
