"""manage.py discard [filters] --reason TEXT"""

from typing import Any

from django.core.management.base import CommandParser

from outbox.repair.commanding import RepairCommand, told_plainly
from outbox.repair.matching import discard_matching
from outbox.stopping import stop_on_signals


class Command(RepairCommand):
    help = "Give dead letters up for good, and run what waits behind them, in order."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--reason", required=True, help="why; written down")

    def handle(self, *args: Any, **options: Any) -> None:
        selection, using = self.selection(options), options["database"]
        with told_plainly():
            if options["dry_run"]:
                self.preview(selection, using=using)
                return
            total = selection.letters(using=using).count()
            with self.progress(total, "discard") as told:
                results = discard_matching(
                    selection=selection,
                    operator=self.operator(options),
                    told=told,
                    rate=options["rate"],
                    stop=stop_on_signals(),
                    using=using,
                )
            self.summary(results, total=total)
