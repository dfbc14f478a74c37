"""Which instances of consumers are there, and what each of them reads, as they say about once a second."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from outbox.kafka import Placement
from outbox.positions import Member

# An instance that has said nothing for so long is not there. Kafka takes its partitions away after 6 s.
PRESENT = timedelta(seconds=10)
# Three words of it are missing: it may be gone.
SILENT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of a consumer; without partitions it is idle, and takes over when another one ends.

    partitions  what it reads, as it last said, less what another one has said of itself since
    quiet       for how many seconds it has said nothing
    """

    name: str
    started_at: datetime
    seen_at: datetime
    partitions: tuple[Placement, ...]
    quiet: float

    @property
    def silent(self) -> bool:
        """Whether it has said nothing for so long that it may be gone: whether it reads is not known."""
        return self.quiet >= SILENT.total_seconds()

    @property
    def idle(self) -> bool:
        """Whether there is nothing for it to read, and it is there to take over."""
        return not self.partitions and not self.silent


def members_of(names: Iterable[str], *, now: datetime, using: str) -> dict[str, list[Instance]]:
    """Who is there of each consumer, in the order in which they started.

    Of two that name a partition, the one that spoke last reads it: the other has lost it, and not said so.
    """
    found: dict[str, list[Instance]] = defaultdict(list)
    taken: set[tuple[str, Placement]] = set()
    present = Member.objects.using(using).filter(consumer__in=names, seen_at__gt=now - PRESENT)
    for row in present.order_by("-seen_at", "name"):
        named = ((topic, int(partition)) for topic, partition in row.partitions)
        places = tuple(place for place in named if (row.consumer, place) not in taken)
        taken |= {(row.consumer, place) for place in places}
        quiet = max((now - row.seen_at).total_seconds(), 0.0)
        found[row.consumer].append(Instance(row.name, row.started_at, row.seen_at, places, quiet))
    for members in found.values():
        members.sort(key=lambda member: (member.started_at, member.name))
    return found
