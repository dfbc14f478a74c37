"""What operators ask of Kafka and do to its topics."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from outbox.kafka.base import BrokerError, Placement, client_options
from outbox.kafka.onlooking import onlooker


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as the cluster has it: its partition count, replication factor and settings."""

    partitions: int
    replication: int
    config: dict[str, str]


# A topic that need not exist: who asks for its offset hears from the group's coordinator.
_ANY = "any"

# Of the first and of the latest record; None where there is none.
Span = tuple[datetime | None, datetime | None]


class Cluster:
    """What operators ask of Kafka: topics, their settings, how far they reach and how far groups have come.

    Every method raises BrokerError when the cluster does not answer within `timeout` seconds.

    Of a group an AdminClient is not asked, save to delete it: when its connection to the coordinator ends at
    the wrong moment, or Kafka names another coordinator, as one does that has just started, librdkafka 2.16
    ends the process (https://github.com/confluentinc/librdkafka/issues/4605 and 5040).
    """

    def __init__(self, kafka: dict[str, str], *, timeout: float = 10.0) -> None:
        self._kafka, self._timeout = kafka, timeout
        self._admin = AdminClient(client_options(kafka))

    def partition_counts(self) -> dict[str, int]:
        """Every topic's number of partitions; internal topics are left out."""
        try:
            topics = self._admin.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        return {name: len(topic.partitions) for name, topic in topics.items() if not name.startswith("__")}

    def id(self) -> str:
        """What the cluster calls itself, for as long as it is."""
        try:
            return str(self._admin.list_topics(timeout=self._timeout).cluster_id)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Those of the named topics that exist."""
        try:
            present = self._admin.list_topics(timeout=self._timeout).topics
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        wanted = [name for name in names if name in present]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
        futures = self._admin.describe_configs(resources, request_timeout=self._timeout) if resources else {}
        configs = {
            resource.name: {entry.name: entry.value for entry in self._result(future).values()}
            for resource, future in futures.items()
        }
        return {
            name: TopicState(
                partitions=len(present[name].partitions),
                replication=min(
                    (len(part.replicas) for part in present[name].partitions.values()), default=0
                ),
                config=configs[name],
            )
            for name in wanted
        }

    def create_topic(
        self, name: str, *, partitions: int, replication: int | None, config: dict[str, str]
    ) -> None:
        """Create a topic, unless there is one; None for replication takes the cluster's default."""
        topic = NewTopic(name, partitions, -1 if replication is None else replication, config=config)
        try:
            self._admin.create_topics([topic], request_timeout=self._timeout)[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(error.args[0].str()) from error

    def add_partitions(self, name: str, *, total: int) -> None:
        """Raise a topic's partition count to `total`."""
        self._result(
            self._admin.create_partitions([NewPartitions(name, total)], request_timeout=self._timeout)[name]
        )

    def set_config(self, name: str, config: dict[str, str]) -> None:
        """Set these settings of a topic; others stay as they are."""
        entries = [
            ConfigEntry(option, value, incremental_operation=AlterConfigOpType.SET)
            for option, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        self._result(
            self._admin.incremental_alter_configs([resource], request_timeout=self._timeout)[resource]
        )

    def creates_topics_by_itself(self) -> bool:
        """Whether a broker makes topics that are merely asked for; False where it may not be asked."""
        try:
            brokers = self._admin.list_topics(timeout=self._timeout).brokers
            resources = [ConfigResource(ResourceType.BROKER, str(broker)) for broker in brokers]
            futures = self._admin.describe_configs(resources, request_timeout=self._timeout)
            settings = [self._result(future) for future in futures.values()]
        except (KafkaException, BrokerError):
            return False
        return any(one["auto.create.topics.enable"].value == "true" for one in settings)

    def watermarks(self, placements: Iterable[Placement]) -> dict[Placement, int]:
        """The offset after the last record of each partition."""
        return self._offsets(placements, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def log_starts(self, placements: Iterable[Placement]) -> dict[Placement, int]:
        """The offset of the first record that each partition still has; 0 when none was ever deleted."""
        return self._offsets(placements, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def first_since(self, placements: Iterable[Placement], moment: datetime) -> dict[Placement, int | None]:
        """The offset of the first record that Kafka has from this moment on; None where there is none."""
        milliseconds = int(moment.timestamp() * 1_000)
        found = self._offsets(placements, OffsetSpec.for_timestamp(milliseconds))
        return {place: None if offset < 0 else offset for place, offset in found.items()}

    def spans(self, placements: Iterable[Placement]) -> dict[Placement, Span]:
        """When the first and the latest of the records that each partition has were written, as they say."""
        wanted = list(placements)
        firsts = self._look_up(wanted, OffsetSpec.for_timestamp(0))
        latest = self._look_up(wanted, OffsetSpec.max_timestamp())  # type: ignore[no-untyped-call]
        return {place: (_moment(firsts[place]), _moment(latest[place])) for place in wanted}

    def _offsets(self, placements: Iterable[Placement], which: OffsetSpec) -> dict[Placement, int]:
        return {place: found.offset for place, found in self._look_up(placements, which).items()}

    def _look_up(self, placements: Iterable[Placement], which: OffsetSpec) -> dict[Placement, Any]:
        wanted = {TopicPartition(topic, partition): which for topic, partition in placements}
        if not wanted:
            return {}
        futures = self._admin.list_offsets(wanted, request_timeout=self._timeout)
        return {(part.topic, part.partition): self._result(future) for part, future in futures.items()}

    def committed(self, group: str, places: Iterable[Placement]) -> dict[Placement, int]:
        """The next offset that the group will read of these partitions; those it has none of are missing."""
        with self._on_behalf_of(group) as client:
            parts = client.committed([TopicPartition(*place) for place in places], timeout=self._timeout)
        _check(parts, group=group)
        return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}

    def set_committed(self, group: str, offsets: dict[Placement, int]) -> None:
        """Have the group read on from these offsets. Kafka refuses it while the group has members.

        Where Kafka goes away in the midst of it, it may take three quarters of a minute to say so.
        """
        if not offsets:
            return
        wanted = [TopicPartition(topic, part, offset) for (topic, part), offset in offsets.items()]
        with self._on_behalf_of(group) as client:
            # To commit is given no time limit: librdkafka would try for three quarters of a minute.
            client.committed(wanted, timeout=self._timeout)
            _check(client.commit(offsets=wanted, asynchronous=False), group=group)

    @contextmanager
    def _on_behalf_of(self, group: str) -> Iterator[Client]:
        """A client with the group's name that never joins it."""
        client = onlooker(self._kafka, group, {})
        try:
            yield client
        except KafkaException as error:
            raise BrokerError(f"group {group}: {error.args[0].str()}") from error
        finally:
            client.close()

    def members(self, group: str) -> dict[str, set[Placement]]:
        """What the members of a group read, by their client id (host:pid); idle members too.

        A process has two for a moment when it begins again with a new client. While brokers start, or a group
        moves from one to another, some may be missing: what must not happen under a member asks Kafka in a
        way that it refuses, as set_committed() does. A broker that gives no answer is a BrokerError, and so
        is a group of others than consumers, such as Kafka Connect's workers.
        """
        found: dict[str, set[Placement]] = {}
        for member in self._members(group):
            try:
                found.setdefault(member.client_id, set()).update(_assigned(member.assignment))
            except (struct.error, UnicodeDecodeError) as error:
                raise BrokerError(
                    f"group {group}: what {member.client_id} reads is not said in the consumers' protocol"
                ) from error
        return found

    def member_ids(self, group: str) -> set[str]:
        """The ids that Kafka has given to the group's members."""
        return {member.id for member in self._members(group)}

    def _members(self, group: str) -> list[Any]:
        try:
            groups = self._admin.list_groups(group, timeout=self._timeout)
        except KafkaException as error:
            raise BrokerError(f"group {group}: {error.args[0].str()}") from error
        for found in groups:
            if found.error is not None:
                raise BrokerError(f"group {group}: {found.error.str()}")
        return [member for found in groups for member in found.members]

    def delete_group(self, group: str) -> None:
        """Forget a group and how far it has come, unless there is none. It must have no members."""
        # Only once its coordinator answers: see above what a request may end in that comes before.
        with self._on_behalf_of(group) as client:
            client.committed([TopicPartition(_ANY, 0)], timeout=self._timeout)
        # A client that lost the coordinator in the midst of an earlier request never finds it again.
        admin = AdminClient(client_options(self._kafka))
        future = admin.delete_consumer_groups([group], request_timeout=self._timeout)[group]
        try:
            future.result(timeout=self._timeout + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise BrokerError(f"group {group}: {error.args[0].str()}") from error
        except TimeoutError as error:
            raise BrokerError("Kafka did not answer in time") from error

    def _result(self, future: Any) -> Any:
        try:
            return future.result(timeout=self._timeout + 1)
        except KafkaException as error:
            raise BrokerError(error.args[0].str()) from error
        except TimeoutError as error:
            raise BrokerError("Kafka did not answer in time") from error


def _moment(found: Any) -> datetime | None:
    """When the record was written that was looked for; None where none was found."""
    milliseconds = int(found.timestamp)
    return None if found.offset < 0 or milliseconds < 0 else datetime.fromtimestamp(milliseconds / 1_000, UTC)


def _check(parts: Iterable[TopicPartition], *, group: str) -> None:
    """Raises BrokerError for the first partition that Kafka did not answer for."""
    for part in parts:
        if part.error is not None:
            raise BrokerError(f"group {group}, {part.topic}/{part.partition}: {part.error.str()}")


def _assigned(assignment: bytes) -> Iterator[Placement]:
    """What a member's assignment says, in the consumers' protocol of Kafka; nothing where it has none."""
    if not assignment:
        return
    (topics,), at = struct.unpack_from(">2xi", assignment), 6
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", assignment, at)
        topic = assignment[at + 2 : at + 2 + length].decode()
        (count,) = struct.unpack_from(">i", assignment, at + 2 + length)
        at += 6 + length
        for partition in struct.unpack_from(f">{count}i", assignment, at):
            yield topic, partition
        at += 4 * count
