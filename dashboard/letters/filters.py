"""What the address of a page of dead letters may ask for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from dashboard.address import AddressForm
from outbox.models import DeadLetter, LetterState
from outbox.registry import all_consumers
from outbox.repair.matching import Selection

NAMES = ("consumer", "cause", "type", "key", "fingerprint", "since", "until", "state")


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters that are set, as the address says them; hashable, so that many may watch the same."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The value of one; None when it is not set."""
        return dict(self.pairs).get(name)

    @property
    def state(self) -> str:
        """Open ones, unless others are asked for."""
        return self.get("state") or LetterState.OPEN.value

    @property
    def narrows(self) -> bool:
        """Whether anything but the state is asked for."""
        return any(name != "state" for name, _ in self.pairs)

    @property
    def query(self) -> str:
        """As an address says it."""
        return urlencode(self.pairs)

    def address(self, **place: str) -> str:
        """Of the page with these filters, at a place of its list."""
        return f"?{urlencode([*self.pairs, *place.items()])}"

    def selection(self) -> Selection:
        """What is meant by them, for acts: open letters alone."""
        words = {name: self.get(name) for name in ("consumer", "cause", "type", "key", "fingerprint")}
        times = {name: _moment(self.get(name)) for name in ("since", "until")}
        return Selection(**words, **times, everything=not self.narrows)  # type: ignore[arg-type]

    def columns(self) -> dict[str, Any]:
        """What the rows have in common."""
        wanted: dict[str, Any] = {
            name: value
            for name in ("consumer", "cause", "type", "key", "fingerprint")
            if (value := self.get(name)) is not None
        }
        if (since := _moment(self.get("since"))) is not None:
            wanted["died_at__gte"] = since
        if (until := _moment(self.get("until"))) is not None:
            wanted["died_at__lt"] = until
        return {**wanted, "state": self.state}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A row of the list, by its order: what is older than it, or newer."""

    at: datetime
    id: UUID

    @classmethod
    def of(cls, letter: DeadLetter) -> "Place":
        """The letter's own."""
        return cls(letter.died_at, letter.id)

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """The place that an address names; None for what is none."""
        moment, _, row_id = text.partition("~")
        at = _moment(moment)
        try:
            return None if at is None else cls(at, UUID(row_id))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.at.isoformat()}~{self.id}"


class PlaceField(forms.CharField):
    """A Place as an address holds it."""

    def clean(self, value: Any) -> Place | None:
        """None when there is none."""
        text: str = super().clean(value)
        if not text:
            return None
        place = Place.read(text)
        if place is not None:
            return place
        raise forms.ValidationError("This is no place in the list.")


class LettersFilter(AddressForm):
    """The filters, and the place of a page."""

    times = ("since", "until")

    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "open"),
            *((one.value, one.value) for one in LetterState if one is not LetterState.OPEN),
        ],
    )
    consumer = forms.ChoiceField(required=False)
    cause = forms.CharField(required=False, max_length=200, strip=False)
    type = forms.CharField(required=False, max_length=1_024, strip=False)
    key = forms.CharField(required=False, max_length=1_024, strip=False)
    fingerprint = forms.RegexField(r"^[0-9a-f]{1,64}$", required=False)
    before = PlaceField(required=False, max_length=100)
    after = PlaceField(required=False, max_length=100)

    def __init__(self, data: QueryDict, *, zone: str) -> None:
        super().__init__(data, zone=zone)
        names = [(consumer.name, consumer.name) for consumer in all_consumers()]
        consumers = self.fields["consumer"]
        assert isinstance(consumers, forms.ChoiceField)  # noqa: S101
        consumers.choices = [("", "any"), *names]

    @property
    def asked(self) -> Asked:
        """The filters that are set. Of a form that is valid."""
        given = ((name, self.cleaned_data[name]) for name in NAMES if self.cleaned_data.get(name))
        return Asked(
            tuple((name, one.isoformat() if isinstance(one, datetime) else one) for name, one in given)
        )


def _moment(text: str | None) -> datetime | None:
    """A moment; None for what is none."""
    if not text:
        return None
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    if at is None:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
