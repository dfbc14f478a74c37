"""The only place that speaks to Kafka, through confluent-kafka (librdkafka).

Everything above sees records, offsets and the errors below; nothing connects before a method is called.
"""

from outbox.kafka.base import BrokerError, Header, Placement, Record, RecordRefused, Stretch
from outbox.kafka.cluster import Cluster, Span, TopicState
from outbox.kafka.oldest import oldest_records
from outbox.kafka.producer import HEADROOM, RecordProducer
from outbox.kafka.reader import GroupReader, member_name
from outbox.kafka.stretch import records_between
from outbox.kafka.tail import TailReader

__all__ = [
    "HEADROOM",
    "BrokerError",
    "Cluster",
    "GroupReader",
    "Header",
    "Placement",
    "Record",
    "RecordProducer",
    "RecordRefused",
    "Span",
    "Stretch",
    "TailReader",
    "TopicState",
    "member_name",
    "oldest_records",
    "records_between",
]
