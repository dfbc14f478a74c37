"""Whether a consumer has read a topic from its first record on: the first event of each key is its number 1.

Otherwise the first sight of a key has to be its baseline, since what came before may have been deleted. But
where all was there to be read, a higher number is a gap: the earlier events are in another partition, which
is further behind, as after partitions were raised.
"""

from django.db import connections

from outbox.config import Config
from outbox.consumer_models import TopicBeginning
from outbox.generations import live_generation
from outbox.kafka import Cluster
from outbox.registry import Consumer


class Beginnings:
    """What one instance finds out about its group, before it processes anything of a topic.

    group     the Kafka group
    building  the generation that is being built; None for the live one
    """

    def __init__(self, consumer: Consumer, *, group: str, building: int | None, settings: Config) -> None:
        self._consumer, self._group, self._building = consumer, group, building
        self._settings = settings
        self._is_known = False

    def gain(self) -> None:
        """Partitions were gained, perhaps of a topic that was not there before."""
        self._is_known = False

    def tell(self) -> None:
        """Write down what is not yet of each topic: whether anything was deleted or read before this moment.

        Whoever is first decides. Raises the database's errors and BrokerError.
        """
        if self._is_known:
            return
        using, name = self._consumer.using, self._consumer.name
        generation = live_generation(name, using=using) if self._building is None else self._building
        told = TopicBeginning.objects.using(using).filter(consumer=name, generation=generation)
        unknown = set(self._consumer.topics).difference(told.values_list("topic", flat=True))
        whole = self._whole(unknown) if unknown else {}
        TopicBeginning.objects.using(using).bulk_create(
            [
                TopicBeginning(consumer=name, generation=generation, topic=topic, is_whole=is_whole)
                for topic, is_whole in sorted(whole.items())
            ],
            ignore_conflicts=True,
        )
        self._is_known = True

    def _whole(self, topics: set[str]) -> dict[str, bool]:
        """Of those of these topics that exist, whether the group begins where nothing had been deleted."""
        cluster = Cluster(self._settings.kafka)
        counts = cluster.partition_counts()
        places = [(topic, part) for topic in topics for part in range(counts.get(topic, 0))]
        starts, committed = cluster.log_starts(places), cluster.committed(self._group, places)
        late = {
            topic for topic, part in places if max(starts[topic, part], committed.get((topic, part), 0)) > 0
        }
        return {topic: topic not in late for topic, _ in places}


def whole_topics(*, consumer: str, generation: int, using: str) -> set[str]:
    """The topics that this generation of the consumer has read from their first record on."""
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT topic FROM outbox_topic_beginning WHERE consumer = %s AND generation = %s AND is_whole",
            [consumer, generation],
        )
        return {topic for (topic,) in sql.fetchall()}
