"""manage.py generate_load"""

import asyncio
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from demo.errors import DemoError
from demo.generating import Options, generate
from demo.status import read_demo_file


class Command(BaseCommand):
    help = (
        "Request and validate payments over REST at a fixed rate, and say how long each took to be processed."
    )
    # Speaks to the site alone.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rate", type=float, required=True, help="payments a second")
        parser.add_argument("--seconds", type=float, required=True, help="for how long")
        parser.add_argument("--url", help="the site; that of the running demo by default")
        parser.add_argument(
            "--token", help="a merchant's token; the running demo's first merchant by default"
        )
        parser.add_argument(
            "--deadline", type=float, default=30.0, help="seconds for the last to be processed"
        )
        parser.add_argument(
            "--folder", type=Path, default=settings.DEVSTACK_DIR, help="the running demo's folder"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["rate"] > 0 and options["seconds"] > 0):
            raise CommandError("--rate and --seconds must be greater than 0.")
        try:
            demo = {} if options["url"] and options["token"] else read_demo_file(options["folder"])
            report = asyncio.run(
                generate(
                    Options(
                        url=options["url"] or demo["url"],
                        token=options["token"] or demo["token"],
                        rate=options["rate"],
                        seconds=options["seconds"],
                        deadline=options["deadline"],
                    )
                )
            )
        except DemoError as error:
            raise CommandError(str(error)) from error
        Console().print(report.table())
        if not report.complete:
            raise CommandError("Not every payment was validated and processed.")
