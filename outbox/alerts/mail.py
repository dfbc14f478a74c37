"""Mails a notice, by Django's mail settings."""

import smtplib
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.mail import BadHeaderError, EmailMessage, get_connection

from outbox.errors import NotDelivered

LIMIT = 10


class Mail:
    """One message to all addresses that the settings name."""

    name = "email"

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self.shown = f"{len(addresses)} e-mail addresses" if len(addresses) > 1 else addresses[0]

    def send(self, notice: Mapping[str, Any]) -> None:
        """Return once the mail server has it. Raises NotDelivered."""
        data = notice["data"]
        grave = "" if data["ended_at"] else f"[{data['severity']}] "
        title = " ".join(f"{grave}{notice['text']}".split())
        message = EmailMessage(
            subject=title if len(title) <= 120 else f"{title[:119]}…",
            body=_text(notice),
            to=list(self._addresses),
            headers={"Message-ID": f"<{notice['id']}@outbox-alerts>"},
            connection=get_connection(timeout=LIMIT),
        )
        try:
            message.send()
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"The mail server answered {error.smtp_code}.") from None
        except (OSError, smtplib.SMTPException, BadHeaderError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise NotDelivered(f"The mail server cannot be reached: {str(why).lower()}.") from None


def _text(notice: Mapping[str, Any]) -> str:
    data = notice["data"]
    lines = [notice["text"], "", f"Since {data['since']}."]
    if data["ended_at"]:
        lines.append(f"Over since {data['ended_at']}; last seen: {data['said']}")
    lines += [line for line in (data["advice"], data["page"]) if line]
    return "\n".join(lines) + "\n"
