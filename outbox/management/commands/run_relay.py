"""manage.py run_relay"""

import gc
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.errors import OutboxError
from outbox.relay import Relay
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "Publish the outbox to Kafka until stopped (SIGTERM or Ctrl-C). Several share the work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        # Garbage collections that look at all of Django, again and again, took a third of a backlog's time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        try:
            Relay(stop=stop_on_signals(), using=options["database"]).run()
        except OutboxError as error:
            raise CommandError(str(error)) from error
