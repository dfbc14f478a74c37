"""manage.py run_consumer NAME"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import pausing
from outbox.consumer import ConsumerWorker
from outbox.errors import OutboxError
from outbox.registry import get_consumer
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "Process a consumer's events until stopped (SIGTERM, Ctrl-C). Several share the partitions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the consumer, as declared in a handlers.py")
        parser.add_argument(
            "--resume", action="store_true", help="end its pause first, after a mending deploy"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            consumer = get_consumer(options["name"])
            if options["resume"]:
                pausing.resume(consumer=consumer, by="run_consumer --resume")
            ConsumerWorker(consumer, stop=stop_on_signals()).run()
        except OutboxError as error:
            raise CommandError(str(error)) from error
