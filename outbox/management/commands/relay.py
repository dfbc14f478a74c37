"""manage.py relay list|resend|discard"""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox import refusals
from outbox.errors import OutboxError
from outbox.models import Shard


class Command(BaseCommand):
    help = (
        "Show who relays and what Kafka has refused (list); send that again, or a placeholder in its place."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="the shards and their relays, and every event that is held")
        again = actions.add_parser("resend", help="an event, and all that waits behind it")
        again.add_argument("event", type=UUID)
        gone = actions.add_parser("discard", help="an event; what waits behind it is sent")
        gone.add_argument("event", type=UUID)
        gone.add_argument("--reason", required=True, help="goes out in the placeholder's data")

    def handle(self, *args: Any, **options: Any) -> None:
        using, action = options["database"], options["action"]
        try:
            if action == "list":
                self._list(using)
            elif action == "resend":
                count = refusals.resend(event_id=options["event"], using=using)
                self.stdout.write(f"{count} events will be sent as soon as a relay comes to it.")
            else:
                reason = options["reason"]
                count = refusals.discard(event_id=options["event"], reason=reason, using=using)
                self.stdout.write(f"A placeholder and {count - 1} events behind it will be sent.")
        except OutboxError as error:
            raise CommandError(str(error)) from error

    def _list(self, using: str) -> None:
        for shard in Shard.objects.using(using).order_by("shard"):
            self.stdout.write(f"{shard}: {shard.owner or 'nobody'}")
        held = refusals.refused(using=using)
        for one in held:
            asked = ", asked for again" if one.requested_at else ""
            self.stdout.write(f"{one.event_id} of {one.topic}/{one.key}: {one.cause}{asked}")
        self.stdout.write(f"{held.count()} events are held.")
