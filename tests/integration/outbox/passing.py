"""Which events of a key its consumer may pass over, so that they are late when they come after all."""

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from outbox.kafka import Record
from outbox.models import OutboxEvent


@dataclass
class Passing:
    """A model of each key's beginning in a consumer, and of what operators have given up.

    numbers   of each published event its key and its number
    first     the highest number that the consumer may have seen of a key as the first
    settled   keys of which it has seen something for sure: what else comes first changes nothing
    given_up  numbers that a release went on without
    """

    numbers: dict[UUID, tuple[str, int]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    given_up: set[tuple[str, int]] = field(default_factory=set)

    def publish(self, event: OutboxEvent) -> None:
        """The event is on its way."""
        assert event.key is not None
        assert event.number is not None
        self.numbers[event.id] = event.key, event.number

    def hand_out(self, records: list[Record]) -> None:
        """An instance begins with these records; others may be at it."""
        found: dict[str, int] = {}
        for record in records:
            found.setdefault(_key_of(record), int(dict(record.headers)["ce_sequence"] or 0))
        for key, number in found.items():
            if key not in self.settled:
                self.first[key] = max(number, self.first.get(key, 0))

    def settle(self, records: list[Record]) -> None:
        """The instance has come to the end of these records."""
        self.settled |= {_key_of(record) for record in records}

    def missing(self, key: str, *, come: Collection[UUID], waiting: Collection[UUID]) -> set[int]:
        """The numbers before the first gap in what has come of a key."""
        mine = [(number, one) for one, (its, number) in self.numbers.items() if its == key]
        absent = {number for number, one in mine if one not in come and not self.may_be_late(one)}
        behind = [number for number, one in mine if one in waiting and number > min(absent, default=number)]
        return {number for number in absent if number < min(behind, default=0)}

    def give_up(self, key: str, numbers: set[int]) -> None:
        """The key goes on without these."""
        self.given_up |= {(key, number) for number in numbers}

    def begin_again(self) -> None:
        """All has been read once more, from the beginning and without a gap."""
        self.given_up.clear()
        self.first = dict.fromkeys(self.first, 1)
        self.settled = {*self.first}

    def may_be_late(self, event_id: UUID) -> bool:
        """Whether its place may have been passed without it."""
        key, number = self.numbers[event_id]
        return number < self.first.get(key, 0) or (key, number) in self.given_up

    def behind(self, key: str, *, until: int) -> list[UUID]:
        """What must have had its turn before this number of the key has."""
        return [
            one
            for one, (its, number) in self.numbers.items()
            if its == key and number < until and not self.may_be_late(one)
        ]


def _key_of(record: Record) -> str:
    return (record.key or b"").decode()
