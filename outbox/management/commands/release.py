"""manage.py release --consumer NAME (--key KEY | --all) --reason TEXT"""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from outbox.generations import live_generation
from outbox.models import ParkedKey
from outbox.repair.behind import NOTHING, behind
from outbox.repair.commanding import RepairCommand, rate, told_plainly
from outbox.repair.keys import release
from outbox.repair.matching import gaps, release_matching
from outbox.stopping import stop_on_signals


class Command(RepairCommand):
    help = "Release a key that is parked by a gap, or all of them, without the events that are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--consumer", required=True)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--key", help="a whole key")
        which.add_argument("--all", action="store_true", help="each that is parked by a gap, one by one")
        parser.add_argument("--topic", help="of this topic; needed when the key is parked in several")
        parser.add_argument("--reason", required=True, help="why; written down")
        parser.add_argument("--dry-run", action="store_true", help="with --all: say which, and do nothing")
        parser.add_argument("--rate", type=rate, help="with --all: how many keys a second, at most")
        parser.add_argument("--by", help="who asks; the user of this machine when left out")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database's alias")

    def handle(self, *args: Any, **options: Any) -> None:
        with told_plainly():
            if options["all"]:
                self._all(options)
            else:
                self._one(options)

    def _one(self, options: dict[str, Any]) -> None:
        using, consumer = options["database"], options["consumer"]
        if options["dry_run"]:
            raise CommandError("--dry-run is for --all: a key's page says what waits behind it.")
        found = ParkedKey.objects.using(using).filter(consumer=consumer, key=options["key"])
        found = found.filter(generation=live_generation(consumer, using=using))
        if options["topic"] is not None:
            found = found.filter(topic=options["topic"])
        parked = list(found[:2])
        if len(parked) != 1:
            many = "It is parked in several topics: give --topic" if parked else "No such key is parked"
            raise CommandError(f"{many}.")
        report = release(parked_id=parked[0].id, operator=self.operator(options), using=using)
        self.stdout.write(report.detail)

    def _all(self, options: dict[str, Any]) -> None:
        using, named = options["database"], {"consumer": options["consumer"], "topic": options["topic"]}
        found = gaps(**named, using=using)
        if options["dry_run"]:
            for row in found:
                waiting = behind([row.id], using=using).get(row.id, NOTHING).waiting
                self.stdout.write(f"  {row.topic}, key {row.key}: {waiting.least} wait")
            self.stdout.write(f"{found.count():,} keys are parked by a gap. Nothing was done.")
            return
        total = found.count()
        with self.progress(total, "release") as told:
            results = release_matching(
                **named,
                operator=self.operator(options),
                told=told,
                rate=options["rate"],
                stop=stop_on_signals(),
                using=using,
            )
        self.summary(results, total=total)
