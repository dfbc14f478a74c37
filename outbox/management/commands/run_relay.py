"""manage.py run_relay"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox import metrics
from outbox.config import config
from outbox.errors import OutboxError
from outbox.garbage import collect_seldom
from outbox.kafka import Cluster
from outbox.relay import Relay
from outbox.stopping import stop_on_signals
from outbox.topology import warn


class Command(BaseCommand):
    help = "Publish the outbox to Kafka until stopped (SIGTERM or Ctrl-C). Several share the work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the outbox's database alias")

    def handle(self, *args: Any, **options: Any) -> None:
        collect_seldom()
        stop, using = stop_on_signals(), options["database"]
        try:
            metrics.serve(system=True)
            # What guarantees rest on is looked at once; a Kafka that is away keeps nothing waiting for long.
            warn(config().declared_topics(), cluster=Cluster(config().kafka, timeout=2.0), using=using)
            Relay(stop=stop, using=using).run()
        except OutboxError as error:
            raise CommandError(str(error)) from error
