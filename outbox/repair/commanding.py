"""What the commands of repair share: their filters, who asks, and how they show how far they have come."""

import getpass
import sys
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from outbox.clock import moment_of
from outbox.errors import OutboxError
from outbox.repair.acts import Operator, Report, Result, Via
from outbox.repair.matching import Selection, Told

SAMPLE = 10


def moment(text: str) -> datetime:
    """A time with its offset from UTC."""
    try:
        return moment_of(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def rate(text: str) -> float:
    """How many a second."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no rate: write how many a second, like 20 or 0.5")
    return number


class RepairCommand(BaseCommand):
    """A command that acts on all that match."""

    def add_filters(self, parser: CommandParser) -> None:
        """Which are meant, who asks, and how."""
        parser.add_argument("--event", type=UUID, help="the event's id")
        parser.add_argument("--key", help="a whole key")
        parser.add_argument("--topic")
        parser.add_argument("--type", help="like payments.PaymentValidated.v1")
        parser.add_argument("--consumer", help="what this consumer could not process")
        parser.add_argument("--cause", help="the error's type, or a fingerprint")
        parser.add_argument("--since", type=moment, help="died, or was published, at this time or later")
        parser.add_argument("--until", type=moment, help="before this time")
        parser.add_argument("--all", action="store_true", help="all there are, without any filter")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument("--rate", type=rate, help="how many a second, at most")
        parser.add_argument("--by", help="who asks; the user of this machine when left out")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="the database's alias")

    def selection(self, options: dict[str, Any]) -> Selection:
        """What the filters say."""
        names = ("event", "key", "topic", "type", "consumer", "cause", "since", "until")
        return Selection(**{name: options[name] for name in names}, everything=options["all"])

    def operator(self, options: dict[str, Any]) -> Operator:
        """Who asks."""
        return Operator(options["by"] or getpass.getuser(), options["reason"], Via.COMMAND)

    def preview(self, selection: Selection, *, using: str) -> None:
        """How many dead letters match, by consumer and cause, and a sample of them."""
        found = selection.letters(using=using)
        causes = Counter(found.order_by().values_list("consumer", "cause", "fingerprint"))
        for (consumer, cause, fingerprint), many in causes.most_common():
            self.stdout.write(f"{many:,} of {consumer}: {cause} (fingerprint {fingerprint})")
        for letter in found.defer("payload", "headers", "raw_key", "traceback")[:SAMPLE]:
            line = letter.error.partition("\n")[0][:100]
            self.stdout.write(
                f"  {letter.id}: {letter.type or 'record'} {letter.event_id}, key {letter.key}: {line}"
            )
        self.stdout.write(f"{causes.total():,} dead letters match. Nothing was done.")

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Told]:
        """How far it has come: a bar on a terminal, else a line for each."""
        if not sys.stdout.isatty():
            yield lambda which, report: self.stdout.write(f"{which}: {report.result}. {report.detail}")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console()) as bars:
            task = bars.add_task(what, total=total)

            def told(which: UUID, report: Report) -> None:
                bars.advance(task)
                if report.result in {Result.DIED, Result.NOTHING}:
                    bars.console.print(
                        f"{which}: {report.detail}", markup=False, highlight=False, soft_wrap=True
                    )

            yield told

    def summary(self, results: Counter[Result], *, total: int) -> None:
        """What came of it all. Raises CommandError when some died again, or were not come to."""
        said = ", ".join(f"{many:,} {_SAID[result]}" for result, many in sorted(results.items()))
        self.stdout.write(f"Of {total:,}: {said or 'none'}.")
        if results.total() < total:
            raise CommandError("Stopped before the end: the same command goes on with the rest.")
        if results[Result.DIED]:
            raise CommandError("Some died again: their causes are above, and in the dead letters.")


_SAID = {
    Result.REPLAYED: "processed",
    Result.DIED: "died again",
    Result.DISCARDED: "discarded",
    Result.RELEASED: "released",
    Result.SENT: "sent",
    Result.NOTHING: "with nothing to be done",
}


@contextmanager
def told_plainly() -> Iterator[None]:
    """What is refused, and what is away, in a sentence."""
    try:
        yield
    except OutboxError as error:
        raise CommandError(str(error)) from error
    except DatabaseError as error:
        first = str(error).partition("\n")[0]
        raise CommandError(
            f"The database does not answer ({first}). What was told is done: run the same command again."
        ) from error
