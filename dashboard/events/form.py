"""The filters of the events, as the address has them."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from django import forms

from dashboard.address import AddressForm
from dashboard.events.question import (
    AT_A_CONSUMER,
    AT_ANY_CONSUMER,
    REFUSED,
    WAITING,
    Question,
    declared_topics,
    declared_types,
)
from dashboard.forms import merchant_field
from dashboard.receptions import word_of
from outbox.envelope import LONGEST_KEY
from outbox.registry import all_consumers

ANY = ("", "any")


class EventsFilter(AddressForm):
    """What the address may ask for.

    `from` and `to` are times at which events were written, in the zone `tz`; `before` and `after` are the ids
    of events between which a page lies. A type that is no longer declared can be asked for, too.
    """

    times = ("from", "to")

    q = forms.CharField(required=False, max_length=LONGEST_KEY)
    type = forms.CharField(required=False, max_length=255)
    topic = forms.ChoiceField(required=False)
    state = forms.ChoiceField(required=False)
    before = forms.UUIDField(required=False)
    after = forms.UUIDField(required=False)

    def __init__(self, data: Mapping[str, Any], *, zone: str) -> None:
        super().__init__(data, zone=zone)
        self.fields["merchant"] = merchant_field(required=False)
        topic, state = self.fields["topic"], self.fields["state"]
        assert isinstance(topic, forms.ChoiceField)  # noqa: S101
        assert isinstance(state, forms.ChoiceField)  # noqa: S101
        topic.choices = [ANY, *((name, name) for name in declared_topics())]
        state.choices = [ANY, *_states()]
        given = str(data.get("type", ""))
        types = declared_types()
        self.fields["type"].widget = forms.Select(
            choices=[ANY, *((name, name) for name in sorted({*types, given} - {""}))]
        )

    @property
    def question(self) -> Question:
        """What is asked."""
        data = self.cleaned_data
        consumer, _, status = data["state"].rpartition(":")
        return Question(
            text=data["q"],
            type=data["type"],
            topic=data["topic"],
            status=status,
            consumer=consumer,
            owner=data["merchant"],
            since=data["from"] or None,
            until=data["to"] or None,
        )

    @property
    def place(self) -> tuple[UUID | None, UUID | None]:
        """Before which event and after which one the page lies."""
        return self.cleaned_data["before"], self.cleaned_data["after"]

    @property
    def is_first_page_of_now(self) -> bool:
        """Whether what is written next may belong on this page."""
        return self.is_valid() and not any(self.place) and not self.cleaned_data["to"]


def _states() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield "relay", [(WAITING, "waits for the relay"), (REFUSED, "refused by Kafka")]
    yield "any consumer", [(f":{status}", f"{word_of(status)} anywhere") for status in AT_ANY_CONSUMER]
    for consumer in all_consumers():
        name = consumer.name
        yield name, [(f"{name}:{status}", f"{word_of(status)} in {name}") for status in AT_A_CONSUMER]
