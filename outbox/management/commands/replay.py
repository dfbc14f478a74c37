"""manage.py replay [filters] [--data FILE | --to-kafka | --from-outbox]"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from outbox.repair import again, letters
from outbox.repair.commanding import RepairCommand, told_plainly
from outbox.repair.matching import Selection, replay_matching
from outbox.stopping import stop_on_signals


class Command(RepairCommand):
    help = (
        "Have consumers process dead letters after all, with what waits behind them, in order. Or send events"
        " of the outbox again: to Kafka (--to-kafka), or to one consumer alone (--from-outbox)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--reason", default="", help="why; written down")
        parser.add_argument(
            "--late", action="store_true", help="late events too, out of their order: their place was passed"
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--data", type=Path, help="a file with corrected data, for one dead letter")
        how.add_argument("--to-kafka", action="store_true", help="send events again, for all who read there")
        how.add_argument("--from-outbox", action="store_true", help="give --consumer events that it missed")

    def handle(self, *args: Any, **options: Any) -> None:
        selection = self.selection(options)
        with told_plainly():
            if options["to_kafka"] or options["from_outbox"]:
                self._events(selection, options)
            elif options["dry_run"]:
                self.preview(selection, using=options["database"])
            elif options["data"] is not None:
                self._correct(selection, options)
            else:
                self._letters(selection, options)

    def _letters(self, selection: Selection, options: dict[str, Any]) -> None:
        using = options["database"]
        total = selection.letters(using=using).count()
        with self.progress(total, "replay") as told:
            results = replay_matching(
                selection=selection,
                operator=self.operator(options),
                told=told,
                late=options["late"],
                rate=options["rate"],
                stop=stop_on_signals(),
                using=using,
            )
        self.summary(results, total=total)

    def _correct(self, selection: Selection, options: dict[str, Any]) -> None:
        using = options["database"]
        found = list(selection.letters(using=using).values_list("id", flat=True)[:2])
        if len(found) != 1:
            many = "None matches" if not found else "Several match"
            raise CommandError(f"--data corrects one dead letter. {many}: name it by --event and --consumer.")
        try:
            data = options["data"].read_bytes()
        except OSError as error:
            raise CommandError(f"{options['data']} cannot be read: {error.strerror}.") from error
        report = letters.replay(
            letter_id=found[0],
            operator=self.operator(options),
            data=data,
            late=options["late"],
            using=using,
        )
        self.stdout.write(report.detail)

    def _events(self, selection: Selection, options: dict[str, Any]) -> None:
        using = options["database"]
        if options["from_outbox"] and selection.consumer is None:
            raise CommandError("--from-outbox needs --consumer: the one that is to have the events.")
        if selection.cause is not None:
            raise CommandError("--cause is of dead letters; events of the outbox have none.")
        sent, unsent = again.count(selection, using=using)
        if unsent:
            self.stdout.write(f"{unsent:,} more match that Kafka has not had: they are left to the relay.")
        if options["dry_run"]:
            for record in next(again.matching(selection, limit=10, using=using), []):
                self.stdout.write(f"  {record}, number {record.number}")
            self.stdout.write(f"{sent:,} events match. Nothing was done.")
            return
        act = again.send_again if options["to_kafka"] else again.deliver_again
        with self.progress(sent, "replay") as told:
            results = act(
                selection=selection,
                operator=self.operator(options),
                told=told,
                rate=options["rate"],
                stop=stop_on_signals(),
                using=using,
            )
        self.summary(results, total=sent)
