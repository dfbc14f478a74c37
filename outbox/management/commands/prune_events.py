"""manage.py prune_events"""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.errors import OutboxError
from outbox.pruning import prune_events

KEEP_DAYS = 30


class Command(BaseCommand):
    help = "Drop old weeks of the outbox of which everything has been published and processed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--keep-days", type=int, default=KEEP_DAYS, help="weeks that ended later stay")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be dropped")
        parser.add_argument(
            "--unprocessed-by",
            action="append",
            default=[],
            metavar="CONSUMER",
            help="need not have processed them",
        )
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep_days"] < 0:
            raise CommandError("--keep-days is a number of days from 0.")
        try:
            for week in prune_events(
                keep=timedelta(days=options["keep_days"]),
                unprocessed_by=options["unprocessed_by"],
                dry_run=options["dry_run"],
                using=options["database"],
            ):
                done = "would be dropped" if options["dry_run"] else "dropped"
                self.stdout.write(
                    f"{week.span.start:%Y-%m-%d}: {done if week.kept is None else f'kept, {week.kept}'}"
                )
        except OutboxError as error:
            raise CommandError(str(error)) from error
