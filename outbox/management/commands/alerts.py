"""manage.py alerts"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.alerts.alarms import Alarm
from outbox.alerts.causes import Severity
from outbox.alerts.checking import checked_at
from outbox.alerts.sending import send_notices
from outbox.errors import AlertsMisconfigured
from outbox.sampling import sample_when_due


class Command(BaseCommand):
    help = "What is wrong now, since when, and what to do. Ends with 1 when any of it is critical."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--send", action="store_true", help="tell people what they have yet to be told")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database's alias")

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"]
        sample_when_due(using=using)
        alarms = list(Alarm.objects.using(using).present().worst_first())
        for alarm in alarms:
            self.stdout.write(
                f"{alarm.severity.upper()} since {alarm.since:%Y-%m-%d %H:%M:%S %Z}: {alarm.said}"
            )
            if alarm.advice:
                self.stdout.write(f"    {alarm.advice}")
        if not alarms:
            checked = checked_at(using=using)
            self.stdout.write(
                f"Nothing is wrong, looked at {checked:%H:%M:%S %Z}." if checked else "Unknown."
            )
        if options["send"]:
            try:
                self.stdout.write(f"{send_notices(using=using)} notices sent.")
            except AlertsMisconfigured as error:
                raise CommandError(str(error)) from error
        if any(alarm.severity == Severity.CRITICAL for alarm in alarms):
            raise SystemExit(1)
