"""manage.py prepare_demo FOLDER"""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from demo.accounts import ensure_accounts


class Command(BaseCommand):
    help = "What `demo` runs once its servers answer: tables, topics, users."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="where the users' passwords are kept")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write("The database is migrated.")
        call_command("topics", "apply", stdout=self.stdout)
        ensure_accounts(options["folder"])
