"""manage.py run_consumer NAME"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox.consumer import ConsumerWorker
from outbox.errors import UnknownConsumer
from outbox.registry import get_consumer
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "Process a consumer's events until stopped (SIGTERM, Ctrl-C). Several share the partitions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the consumer, as declared in a handlers.py")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            consumer = get_consumer(options["name"])
        except UnknownConsumer as error:
            raise CommandError(str(error)) from error
        ConsumerWorker(consumer, stop=stop_on_signals()).run()
