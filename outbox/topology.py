"""The declared topics against the cluster: what differs, and making it so."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from outbox.config import config
from outbox.kafka import HEADROOM, BrokerError, Cluster, TopicState
from outbox.models import TopicRecord
from outbox.topics import Topic

logger = logging.getLogger(__name__)

# From so many copies on, an acknowledged record is to be in two of them at least.
COPIES_FOR_TWO = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the cluster, or the record of it, is not as declared, or not as guarantees need it.

    name      the topic's, or the brokers
    repair    what `topics apply` does about it, or None when a person must decide
    settings  the topic's settings that repair it
    """

    name: str
    what: str
    repair: str | None
    settings: Mapping[str, str] = field(default_factory=dict)


def differences(
    topics: Sequence[Topic], *, cluster: Cluster, using: str = DEFAULT_DB_ALIAS
) -> Iterator[Difference]:
    """Compare every declared topic with the cluster and with the recorded partition counts."""
    present = cluster.topics(topic.name for topic in topics)
    recorded = dict(TopicRecord.objects.using(using).values_list("name", "partitions"))
    yield from compare(
        topics, present=present, recorded=recorded, by_itself=cluster.creates_topics_by_itself()
    )


def compare(
    topics: Sequence[Topic],
    *,
    present: Mapping[str, TopicState],
    recorded: Mapping[str, int],
    by_itself: bool,
) -> Iterator[Difference]:
    """What differs between the declared topics, those of the cluster, and the recorded partition counts.

    by_itself  whether the brokers create topics that are merely asked for
    """
    for topic in topics:
        state = present.get(topic.name)
        if state is None:
            yield Difference(topic.name, "does not exist", "create")
            continue
        yield from _drift(topic, state, recorded.get(topic.name))
        yield from _risks(topic.name, state)
    if by_itself:
        yield Difference(
            "brokers",
            "create whatever topic is asked for (auto.create.topics.enable): a misspelt name becomes a topic",
            None,
        )


def _drift(topic: Topic, state: TopicState, recorded: int | None) -> Iterator[Difference]:
    if recorded is None:
        yield Difference(
            topic.name, f"exists with {state.partitions} partitions that are not recorded", "record"
        )
    elif recorded != state.partitions:
        yield Difference(
            topic.name, f"has {state.partitions} partitions, but keys are spread over {recorded}", None
        )
    if state.partitions != topic.partitions:
        yield Difference(
            topic.name, f"has {state.partitions} partitions, declared are {topic.partitions}", None
        )
    if topic.replication is not None and state.replication != topic.replication:
        yield Difference(
            topic.name, f"has replication {state.replication}, declared is {topic.replication}", None
        )
    for option, wanted in topic.config().items():
        if state.config.get(option) != wanted:
            yield Difference(
                topic.name,
                f"has {option}={state.config.get(option)}, declared is {wanted}",
                "configure",
                {option: wanted},
            )


def _risks(name: str, state: TopicState) -> Iterator[Difference]:
    """Settings with which Kafka may lose what it has acknowledged, or refuse what publish() accepts."""
    found = state.config
    if found.get("unclean.leader.election.enable") == "true":
        yield Difference(
            name,
            "may be led by a broker that lacks acknowledged records (unclean.leader.election.enable)",
            "configure",
            {"unclean.leader.election.enable": "false"},
        )
    if state.replication >= COPIES_FOR_TWO and int(found.get("min.insync.replicas", 1)) < 2:
        yield Difference(
            name,
            "acknowledges records of which there is one copy (min.insync.replicas=1)",
            "configure",
            {"min.insync.replicas": "2"},
        )
    largest = config().max_event_bytes
    if int(found.get("max.message.bytes", largest)) < largest:
        yield Difference(
            name,
            f"refuses records beyond {found['max.message.bytes']} bytes, and publish() accepts {largest}",
            "configure",
            {"max.message.bytes": str(largest + HEADROOM)},
        )


def apply(
    topics: Sequence[Topic],
    *,
    cluster: Cluster,
    raise_partitions: bool = False,
    using: str = DEFAULT_DB_ALIAS,
) -> list[Difference]:
    """Create what is missing, set what differs, and return every difference that was found.

    The number of partitions of a topic that exists is changed only when told to, for it moves keys: records
    of one key are then in two partitions. Consumers of this project put them in order by their numbers; other
    readers must be told. Safe to run again, and from several processes.
    """
    if raise_partitions:
        _raise_partitions(topics, cluster=cluster, using=using)
    found = list(differences(topics, cluster=cluster, using=using))
    declared = {topic.name: topic for topic in topics}
    for difference in found:
        name = difference.name
        if difference.repair == "create":
            topic = declared[name]
            cluster.create_topic(
                name, partitions=topic.partitions, replication=topic.replication, config=topic.config()
            )
            _record(name, cluster.partition_counts().get(name, topic.partitions), using=using)
        elif difference.repair == "record":
            _record(name, cluster.partition_counts()[name], using=using)
        elif difference.repair == "configure":
            cluster.set_config(name, dict(difference.settings))
    return found


def _raise_partitions(topics: Sequence[Topic], *, cluster: Cluster, using: str) -> None:
    """Have keys spread over as many partitions as are declared, where these are more than now."""
    counts = cluster.partition_counts()
    recorded = dict(TopicRecord.objects.using(using).values_list("name", "partitions"))
    for topic in topics:
        if topic.name not in counts:
            continue
        if counts[topic.name] < topic.partitions:  # also one that was made anew with fewer
            cluster.add_partitions(topic.name, total=topic.partitions)
        if recorded.get(topic.name, 0) < topic.partitions:
            # Relays take the new count within a second.
            _record(topic.name, topic.partitions, using=using)


def warn(topics: Sequence[Topic], *, cluster: Cluster, using: str = DEFAULT_DB_ALIAS) -> None:
    """Log every difference. Nothing when Kafka does not answer: that is said elsewhere."""
    try:
        for difference in differences(topics, cluster=cluster, using=using):
            logger.warning("topic %s %s: run `manage.py topics apply`", difference.name, difference.what)
    except BrokerError:
        return


def _record(name: str, partitions: int, *, using: str) -> None:
    TopicRecord.objects.using(using).update_or_create(
        name=name, defaults={"partitions": partitions, "applied_at": timezone.now()}
    )
