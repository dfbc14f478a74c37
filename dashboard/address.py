"""What an address may ask for: filters by name, and moments as a viewer's browser says them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import forms

from analytics.errors import UnknownZone
from analytics.slots import EARLIEST, LATEST, zone_named

LONGEST_NAME = 40


class AddressForm(forms.Form):
    """Filters as an address has them. One that there is not is an error: all would be shown for some.

    `times` names the two fields between whose moments is looked. Without an offset they are of the zone `tz`,
    which is the viewer's when the address does not say.
    """

    times: tuple[str, str]

    tz = forms.CharField(required=False, max_length=64)

    def __init__(self, data: Mapping[str, Any], *, zone: str) -> None:
        # Its labels hold their fields.
        super().__init__(data, auto_id=False)
        self.zone = zone
        for name in self.times:
            self.fields[name] = forms.CharField(required=False, max_length=40)

    @property
    def shown_zone(self) -> str:
        """The zone of the times as they stand in their fields, which is to be sent with them."""
        zone: str = getattr(self, "cleaned_data", {}).get("tz", self.zone)
        return zone

    def clean_tz(self) -> str:
        """The viewer's zone when nothing is said."""
        name: str = self.cleaned_data["tz"] or self.zone
        try:
            return zone_named(name).key
        except UnknownZone as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        """With the times as moments, in their order."""
        data: dict[str, Any] = super().clean() or {}
        for name in sorted(self.data.keys() - self.fields.keys()):
            self.add_error(None, f"There is no filter {name[:LONGEST_NAME]!r}.")
        for name in self.times:
            if data.get(name) and "tz" in data:
                try:
                    data[name] = moment_in(data[name], zone=data["tz"])
                except ValueError:
                    self.add_error(
                        name,
                        f"Not a time from {EARLIEST.year} on like 2026-01-02T03:04 or 2026-01-02T03:04:05Z.",
                    )
        start, end = (data.get(name) for name in self.times)
        if not self.errors and start and end and start >= end:
            self.add_error(self.times[1], "The time must begin before it ends.")
        return data

    @property
    def start(self) -> str:
        """What stands in the first field of `times`."""
        return self._shown(self.times[0])

    @property
    def end(self) -> str:
        """What stands in the second."""
        return self._shown(self.times[1])

    def _shown(self, name: str) -> str:
        """As it was given where it is no time."""
        moment = getattr(self, "cleaned_data", {}).get(name)
        if not isinstance(moment, datetime):
            return str(self.data.get(name, ""))
        return moment.astimezone(zone_named(self.shown_zone)).strftime("%Y-%m-%dT%H:%M:%S")


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
