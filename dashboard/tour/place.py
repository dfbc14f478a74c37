"""Where somebody is in the tour. It stands in the address, so that it can be sent and needs no script."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

STEPS = 5
# A step that was begun longer ago is begun anew.
LONGEST = timedelta(days=1)
# A cookie: whoever has begun or declined the tour is not offered it again.
COOKIE = "tour"
COOKIE_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Place:
    """A step, and since when: what happened before does not count for it. And the payment made in it.

    A payment of somebody else's, of whom the newcomer knows nothing, is no step of theirs.
    """

    number: int
    since: datetime
    payment: UUID | None = None

    @property
    def milliseconds(self) -> int:
        """`since` as it stands in the address."""
        return round(self.since.timestamp() * 1000)

    @property
    def address(self) -> str:
        """The flow with this step open."""
        payment = {} if self.payment is None else {"payment": self.payment}
        return f"{reverse('flow')}?{urlencode({'tour': self.number, 'from': self.milliseconds, **payment})}"

    def at(self, number: int, *, now: datetime) -> "Place":
        """Another step, from now on."""
        return Place(number, now)

    def with_payment(self, payment: UUID) -> "Place":
        """The same, once this payment has been made."""
        return replace(self, payment=payment)


def place_in(fields: Mapping[str, str], *, now: datetime) -> Place | None:
    """The place that an address or a form names as `tour`, `from` and `payment`, or None."""
    number = fields.get("tour", "")
    if number not in {str(step) for step in range(1, STEPS + 1)}:
        return None
    return Place(int(number), _time(fields.get("from", ""), now=now), _id(fields.get("payment", "")))


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _time(text: str, *, now: datetime) -> datetime:
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        return now
    since = datetime.fromtimestamp(int(text) / 1000, UTC)
    return since if now - LONGEST <= since <= now else now
