"""How far every consumer is behind, whether anybody reads for it, and whether it is paused.

The figures are those of outbox/lag.py, by the same rules, less what the flow does not show: in one statement,
because it is asked once a second. A test holds them to be the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.lag import PRESENT
from outbox.oldest_left import SLACK, TRACES
from outbox.pausing import Pause
from outbox.positions import AlarmCause
from outbox.registry import all_consumers


@dataclass(frozen=True, slots=True)
class Behind:
    """A consumer at one moment.

    events   that Kafka has and it has yet to process
    seconds  the age of the oldest of them; 0 when there is none, and while nobody has told
    unsent   the age of the oldest event of its topics that no relay has sent yet, in seconds; 0 for none
    members  how many of its instances are there
    """

    events: int = 0
    seconds: float = 0.0
    unsent: float = 0.0
    members: int = 0
    alarms: frozenset[AlarmCause] = frozenset()
    pause: Pause | None = None

    @property
    def late_by(self) -> float:
        """The age in seconds of the oldest event that it has yet to process, sent to Kafka or not."""
        return max(self.seconds, self.unsent)


_STANDING = """
WITH asked AS (
    SELECT * FROM unnest(%(consumers)s::text[], %(topics)s::text[]) AS one (consumer, topic)
), place AS (
    SELECT asked.consumer, greatest(ends.next_offset - coalesce(known.reached, 0), 0) AS events,
        CASE WHEN known.reached < ends.next_offset
            THEN clock_timestamp() - coalesce(oldest.occurred_at, known.clear_until) END AS age
    FROM asked JOIN outbox_partition_end AS ends USING (topic)
    LEFT JOIN outbox_consumer_position AS known
        ON known.consumer = asked.consumer AND known.topic = ends.topic AND known.partition = ends.partition
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
SELECT every.consumer, coalesce(sum(place.events), 0), coalesce(extract(epoch FROM max(place.age)), 0),
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
    *, now: datetime, unsent: Mapping[str, datetime], using: str = DEFAULT_DB_ALIAS
) -> dict[str, Behind]:
    """Every declared consumer by name; `unsent` tells since when a topic has had events that wait."""
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
        events, seconds, members, alarms, paused_at, by, reason = rows[consumer.name]
        waits = [(now - unsent[topic]).total_seconds() for topic in consumer.topics if topic in unsent]
        found[consumer.name] = Behind(
            events=int(events),
            seconds=max(float(seconds), 0.0),
            unsent=max([0.0, *waits]),
            members=members,
            alarms=frozenset(map(AlarmCause, alarms)),
            pause=None if paused_at is None else Pause(paused_at, by, reason),
        )
    return found
