"""manage.py outbox_partitions"""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.partitions import days_ahead, make_partitions


class Command(BaseCommand):
    help = "Make the outbox's and the inbox's partitions for the coming weeks. Safe to run at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in make_partitions(using=options["database"]):
            self.stdout.write(f"made {name}")
        ahead = days_ahead(using=options["database"])
        self.stdout.write(self.style.SUCCESS(f"Partitions exist for the next {ahead:.1f} days."))
