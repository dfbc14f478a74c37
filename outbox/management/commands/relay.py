"""manage.py relay list|resend|discard|adopt"""

import getpass
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox import adopting, refusals
from outbox.errors import OutboxError
from outbox.relay_models import Shard
from outbox.repair.acts import Operator, Via


class Command(BaseCommand):
    help = (
        "Show who relays and what Kafka has refused (list); send that again, or a placeholder in its place;"
        " say what happened to the database or to Kafka, so that relays go on (adopt)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")
        parser.add_argument("--by", help="who asks; the user of this machine when left out")
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="the shards and their relays, and every event that is held")
        again = actions.add_parser("resend", help="an event, and all that waits behind it")
        again.add_argument("event", type=UUID)
        gone = actions.add_parser("discard", help="an event; what waits behind it is sent")
        gone.add_argument("event", type=UUID)
        gone.add_argument("--reason", required=True, help="goes out in the placeholder's data")
        adopt = actions.add_parser("adopt", help="what a relay will not go on without being told")
        what = adopt.add_subparsers(dest="what", required=True)
        dump = what.add_parser("dump", help="the database was restored from a dump (pg_dump)")
        backup = what.add_parser(
            "backup", help="it is a physical copy in the original's place: backup, failover, pg_upgrade"
        )
        kafka = what.add_parser("kafka", help="Kafka is another one, a copy of the old one or a new one")
        for one in (dump, backup, kafka):
            one.add_argument("--resend", action="store_true", help="all that there is, to a new Kafka")
        what.add_parser("clone", help="it is a copy of one that lives on, and goes to a Kafka of its own")

    def handle(self, *args: Any, **options: Any) -> None:
        using, action = options["database"], options["action"]
        reason = options.get("reason") or ""
        operator = Operator(options["by"] or getpass.getuser(), reason, Via.COMMAND)
        try:
            if action == "list":
                self._list(using)
            elif action == "resend":
                count = refusals.resend(event_id=options["event"], operator=operator, using=using)
                self.stdout.write(f"{count} events will be sent as soon as a relay comes to it.")
            elif action == "adopt":
                self._adopt(options)
            else:
                count = refusals.discard(
                    event_id=options["event"], reason=reason, operator=operator, using=using
                )
                self.stdout.write(f"A placeholder and {count - 1} events behind it will be sent.")
        except OutboxError as error:
            raise CommandError(str(error)) from error

    def _adopt(self, options: dict[str, Any]) -> None:
        using = options["database"]
        if options["what"] == "clone":
            found = adopting.as_clone(using=using)
        else:
            how = {
                "dump": adopting.from_dump,
                "backup": adopting.from_backup,
                "kafka": adopting.with_new_kafka,
            }
            found = how[options["what"]](resend=options["resend"], using=using)
        if found.lost:
            self.stdout.write(
                f"Kafka has {found.lost} events that this database lacks: others have acted on them. Their"
                " numbers will not be given again; docs/operations.md says what is left to do."
            )
        self.stdout.write(f"{found.unsent} events will be sent. Relays may be started.")

    def _list(self, using: str) -> None:
        for shard in Shard.objects.using(using).order_by("shard"):
            self.stdout.write(f"{shard}: {shard.owner or 'nobody'}")
        held = refusals.refused(using=using)
        for one in held:
            asked = ", asked for again" if one.requested_at else ""
            self.stdout.write(f"{one.event_id} of {one.topic}/{one.key}: {one.cause}{asked}")
        self.stdout.write(f"{held.count()} events are held.")
