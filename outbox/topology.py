"""The declared topics against the cluster: what differs, and making it so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from outbox.kafka import Cluster, TopicState
from outbox.models import TopicRecord
from outbox.topics import Topic


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the cluster, or the record of it, is not as declared.

    repair  what `topics apply` does about it, or None when a person must decide
    """

    topic: Topic
    what: str
    repair: str | None


def differences(
    topics: Sequence[Topic], *, cluster: Cluster, using: str = DEFAULT_DB_ALIAS
) -> Iterator[Difference]:
    """Compare every declared topic with the cluster and with the recorded partition counts."""
    present = cluster.topics(topic.name for topic in topics)
    recorded = dict(TopicRecord.objects.using(using).values_list("name", "partitions"))
    for topic in topics:
        state = present.get(topic.name)
        if state is None:
            yield Difference(topic, "does not exist", "create")
            continue
        yield from _drift(topic, state, recorded.get(topic.name))


def _drift(topic: Topic, state: TopicState, recorded: int | None) -> Iterator[Difference]:
    if recorded is None:
        yield Difference(topic, f"exists with {state.partitions} partitions that are not recorded", "record")
    elif recorded != state.partitions:
        yield Difference(
            topic,
            f"has {state.partitions} partitions, but keys are spread over {recorded}",
            None,
        )
    if state.partitions != topic.partitions:
        yield Difference(topic, f"has {state.partitions} partitions, declared are {topic.partitions}", None)
    if topic.replication is not None and state.replication != topic.replication:
        yield Difference(topic, f"has replication {state.replication}, declared is {topic.replication}", None)
    for option, wanted in topic.config().items():
        if state.config.get(option) != wanted:
            yield Difference(
                topic, f"has {option}={state.config.get(option)}, declared is {wanted}", "configure"
            )


def apply(topics: Sequence[Topic], *, cluster: Cluster, using: str = DEFAULT_DB_ALIAS) -> list[Difference]:
    """Create what is missing, set what differs, and return every difference found.

    Never changes the number of partitions of a topic that exists: that would move keys, and break their
    order while old records are still being read. Safe to run again, and from several processes.
    """
    found = list(differences(topics, cluster=cluster, using=using))
    for difference in found:
        topic = difference.topic
        if difference.repair == "create":
            cluster.create_topic(
                topic.name, partitions=topic.partitions, replication=topic.replication, config=topic.config()
            )
            _record(topic.name, cluster.partition_counts().get(topic.name, topic.partitions), using=using)
        elif difference.repair == "record":
            _record(topic.name, cluster.partition_counts()[topic.name], using=using)
        elif difference.repair == "configure":
            cluster.set_config(topic.name, topic.config())
    return found


def _record(name: str, partitions: int, *, using: str) -> None:
    TopicRecord.objects.using(using).update_or_create(
        name=name, defaults={"partitions": partitions, "applied_at": timezone.now()}
    )
