"""manage.py demo"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from demo.errors import DemoError
from demo.run import Options, run_demo
from devstack.errors import DevstackError


class Command(BaseCommand):
    help = "The whole system in this terminal: PostgreSQL, Kafka, relay, consumers, Celery and the site."
    # There is no database before the command itself has started one.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--traffic", action="store_true", help="play payments of several customers")
        parser.add_argument("--port", type=int, help="the site's port; 8000 or another free one by default")
        parser.add_argument(
            "--folder",
            type=Path,
            default=settings.DEVSTACK_DIR,
            help="where data is kept; .devstack by default",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run_demo(Options(folder=options["folder"], port=options["port"], traffic=options["traffic"]))
        except (DevstackError, DemoError) as error:
            raise CommandError(str(error)) from error
