"""What an address may ask for: filters by name, and moments as a viewer's browser says them."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from analytics.slots import EARLIEST, LATEST, zone_named

LONGEST_NAME = 40


class AddressForm(forms.Form):
    """Filters as an address has them. One that there is not is an error: all would be shown for some."""

    def clean(self) -> dict[str, Any]:
        """What the fields made of it."""
        data: dict[str, Any] = super().clean() or {}
        for name in sorted(self.data.keys() - self.fields.keys()):
            self.add_error(None, f"There is no filter {name[:LONGEST_NAME]!r}.")
        return data


def moment_in(text: str, *, zone: str) -> datetime:
    """The moment, in UTC; of this zone where it names no offset. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone_named(zone))
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error
    if not EARLIEST <= moment < LATEST:
        raise ValueError(text)
    return moment


def local_time(moment: datetime, *, zone: str) -> str:
    """As a field of a browser for a local time wants it."""
    return moment.astimezone(zone_named(zone)).strftime("%Y-%m-%dT%H:%M:%S")
