"""The settings of alerts: `OUTBOX["ALERTS"] = {...}`, with these defaults, and what must be right in them."""

import base64
import binascii
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.checks import Error, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from outbox.config import config
from outbox.errors import AlertsMisconfigured

_PREFIX = "whsec_"
_LEAST_SECRET = 24
_HOW_TO_MAKE_ONE = (
    "Make one: python -c \"import base64, secrets; print('whsec_' +"
    ' base64.b64encode(secrets.token_bytes(32)).decode())"'
)


@dataclass(frozen=True, slots=True)
class Alerts:
    """Seconds, unless a name says otherwise. Without `webhook` and `email` nobody is told anything.

    webhook  the address that changes are posted to; http or https
    secret   signs them: "whsec_" and 24 bytes or more in base64, as Standard Webhooks has it
    email    the addresses that changes are mailed to, by Django's mail settings
    page     the address of the page of alerts, for messages to name; none when empty
    hold     for how long something must be wrong, or right again, before that is told
    remind   after how long it is told again that something lasts; 0 for never
    backlog  for how long an event may wait in the outbox while a relay runs
    paused   for how long a consumer may be paused by somebody
    """

    webhook: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    email: tuple[str, ...] = ()
    page: str = ""
    hold: float = 30.0
    remind: float = 14_400.0
    backlog: float = 60.0
    paused: float = 3_600.0

    @property
    def target(self) -> SplitResult:
        """Where the webhook leads. Raises AlertsMisconfigured."""
        try:
            parts = urlsplit(self.webhook)
            if parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port):
                return parts
        except ValueError:
            pass
        raise AlertsMisconfigured("WEBHOOK must be an http:// or https:// address with a host.")

    @property
    def webhook_host(self) -> str:
        """What may be shown of the webhook: its path, too, may be a secret."""
        try:
            parts = self.target
        except AlertsMisconfigured:
            return "an address that is wrong"
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    @property
    def key(self) -> bytes:
        """The secret's bytes. Raises AlertsMisconfigured."""
        try:
            found = base64.b64decode(self.secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            found = b""
        if not self.secret.startswith(_PREFIX) or len(found) < _LEAST_SECRET:
            raise AlertsMisconfigured(
                f'SECRET must be "{_PREFIX}" and {_LEAST_SECRET} bytes or more in base64. {_HOW_TO_MAKE_ONE}'
            )
        return found


def alert_options() -> Alerts:
    """The project's. Raises AlertsMisconfigured for a name that does not exist."""
    known = {option.name for option in fields(Alerts)}
    given = {name.lower(): value for name, value in config().alerts.items()}
    if unknown := sorted(name.upper() for name in given if name not in known):
        names = ", ".join(sorted(name.upper() for name in known))
        raise AlertsMisconfigured(f"there is no {', '.join(unknown)}, but {names}.")
    given["email"] = tuple(given.get("email", ()))
    return Alerts(**given)


@register()
def check_alerts(app_configs: Any, **kwargs: Any) -> list[Error]:
    """What is wrong is said at the start, not when the first alarm should have been heard."""
    if not getattr(settings, "OUTBOX", {}).get("ALERTS"):
        return []
    try:
        options = alert_options()
    except AlertsMisconfigured as error:
        return [Error(str(error), id="outbox.E001")]
    errors = []
    if options.webhook:
        for part in ("target", "key"):
            try:
                getattr(options, part)
            except AlertsMisconfigured as error:
                errors.append(Error(str(error), id="outbox.E002"))
    for address in options.email:
        try:
            validate_email(address)
        except ValidationError:
            message = AlertsMisconfigured(f"EMAIL has {address!r}, which is no e-mail address.")
            errors.append(Error(str(message), id="outbox.E003"))
    for name, least in (("hold", 0), ("remind", 0), ("backlog", 1), ("paused", 1)):
        value = getattr(options, name)
        if not isinstance(value, int | float) or value < least:
            message = AlertsMisconfigured(f"{name.upper()} must be a number of seconds, {least} or more.")
            errors.append(Error(str(message), id="outbox.E004"))
    return errors
