"""manage.py run_consumer NAME [--instances N]"""

from functools import partial
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import metrics, pausing
from outbox.consumer import ConsumerWorker
from outbox.errors import OutboxError
from outbox.garbage import collect_seldom
from outbox.instances import Instances
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Via
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "Process a consumer's events until stopped (SIGTERM, Ctrl-C). Several share the partitions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the consumer, as declared in a handlers.py")
        parser.add_argument(
            "--resume", action="store_true", help="end its pause first, after a mending deploy"
        )
        parser.add_argument(
            "--instances",
            type=int,
            metavar="N",
            help="so many processes, started again when they die; more than there are partitions are idle",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        collect_seldom()
        try:
            consumer = get_consumer(options["name"])
            if options["resume"]:
                pausing.resume(consumer=consumer, by="run_consumer --resume", via=Via.COMMAND)
            if options["instances"] is None:
                self._work(consumer, stop_on_signals(), 0)
            else:
                self._run_several(consumer, options["instances"])
        except OutboxError as error:
            raise CommandError(str(error)) from error

    def _work(self, consumer: Consumer, stop: Event, instance: int) -> None:
        metrics.serve(instance=instance)
        ConsumerWorker(consumer, stop=stop).run()

    def _run_several(self, consumer: Consumer, count: int) -> None:
        if count < 1:
            raise CommandError("--instances is a number from 1.")
        if count > consumer.partitions:
            self.stderr.write(
                f"{consumer.name} reads {consumer.partitions} partitions:"
                f" {count - consumer.partitions} of {count} instances will be idle."
            )

        work = partial(self._work, consumer)
        failed = Instances(f"consumer {consumer.name}", work, count=count).run()
        if failed:
            raise CommandError(f"{failed} of {count} instances did not end in order: see the log.")
