"""manage.py prune_inbox"""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.errors import OutboxError
from outbox.inbox_pruning import prune_inbox
from outbox.kafka import BrokerError

WINDOW_DAYS = 30


class Command(BaseCommand):
    help = "Drop old weeks of the inbox that every consumer has moved past by the window."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--window-days", type=int, default=WINDOW_DAYS, help="how far past its end consumers must be"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be dropped")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the consumers' database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for week in prune_inbox(
                window=timedelta(days=options["window_days"]),
                dry_run=options["dry_run"],
                using=options["database"],
            ):
                done = "would be dropped" if options["dry_run"] else "dropped"
                self.stdout.write(
                    f"{week.span.start:%Y-%m-%d}: {done if week.kept is None else f'kept, {week.kept}'}"
                )
        except (OutboxError, BrokerError) as error:
            raise CommandError(str(error)) from error
