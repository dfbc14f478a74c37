"""manage.py run_relay"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.errors import OutboxError
from outbox.relay import Relay
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "Publish the outbox to Kafka until stopped (SIGTERM or Ctrl-C). A second relay stands by."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Relay(stop=stop_on_signals(), using=options["database"]).run()
        except OutboxError as error:
            raise CommandError(str(error)) from error
