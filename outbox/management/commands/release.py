"""manage.py release --consumer NAME --key KEY --reason TEXT"""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.generations import live_generation
from outbox.models import ParkedKey
from outbox.repair.acts import Operator, Via
from outbox.repair.commanding import told_plainly
from outbox.repair.keys import release


class Command(BaseCommand):
    help = "Release a key that is parked by a gap, without the events that are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--consumer", required=True)
        parser.add_argument("--key", required=True, help="a whole key")
        parser.add_argument("--topic", help="when the key is parked in several")
        parser.add_argument("--reason", required=True, help="why; written down")
        parser.add_argument("--by", help="who asks; the user of this machine when left out")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database's alias")

    def handle(self, *args: Any, **options: Any) -> None:
        using, consumer = options["database"], options["consumer"]
        found = ParkedKey.objects.using(using).filter(consumer=consumer, key=options["key"])
        found = found.filter(generation=live_generation(consumer, using=using))
        if options["topic"] is not None:
            found = found.filter(topic=options["topic"])
        parked = list(found[:2])
        if len(parked) != 1:
            many = "It is parked in several topics: give --topic" if parked else "No such key is parked"
            raise CommandError(f"{many}.")
        with told_plainly():
            operator = Operator(options["by"] or getpass.getuser(), options["reason"], Via.COMMAND)
            report = release(parked_id=parked[0].id, operator=operator, using=using)
        self.stdout.write(report.detail)
