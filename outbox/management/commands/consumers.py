"""manage.py consumers list|pause|resume|seek|rebuild|clear"""

import getpass
import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from outbox import pausing
from outbox.clearing import abandon, clear
from outbox.errors import OutboxError
from outbox.generations import generations_of
from outbox.lag import all_lags
from outbox.lag_table import shown
from outbox.progress import Progress
from outbox.rebuild import Rebuild
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Operator, Via
from outbox.repair.commanding import moment
from outbox.seeking import preview, seek
from outbox.stopping import stop_on_signals


class Command(BaseCommand):
    help = "List the consumers, pause one, have it read from another moment, or build a projection again."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="who reads what, and how far they are behind")
        for action, what in (("pause", "process nothing until resumed"), ("resume", "go on after a pause")):
            steering = actions.add_parser(action, help=what)
            steering.add_argument("name", help="the consumer, as declared in a handlers.py")
            steering.add_argument("--reason", default="", help="why; it is kept, and shown while paused")
        rebuild = actions.add_parser("rebuild", help="build a projection anew beside the live one, and swap")
        rebuild.add_argument("name", help="the consumer, as declared in a handlers.py")
        rebuild.add_argument("--reason", default="", help="why; it is kept")
        rebuild.add_argument("--abandon", action="store_true", help="remove a half-built one instead")
        rebuild.add_argument(
            "--drop-history",
            action="store_true",
            help="have only what Kafka still has; all that it has deleted is lost for good",
        )
        seeking = actions.add_parser("seek", help="read on from another moment; no instance may run")
        seeking.add_argument("name", help="the consumer, as declared in a handlers.py")
        seeking.add_argument(
            "--to", required=True, type=moment, metavar="TIME", help="like 2026-11-26T14:00:00Z"
        )
        seeking.add_argument("--dry-run", action="store_true", help="only say what would be done")
        seeking.add_argument(
            "--skip", default="", metavar="REASON", help="why events may be left unprocessed for good"
        )
        clearing = actions.add_parser("clear", help="remove what a rebuild left behind that was cut short")
        clearing.add_argument("name", help="the consumer, as declared in a handlers.py")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self._list()
            return
        try:
            consumer = get_consumer(options["name"])
            if options["action"] in {"pause", "resume"}:
                self._steer(consumer, options["action"], options["reason"])
            elif options["action"] == "seek":
                self._seek(consumer, options)
            elif options["action"] == "clear":
                self.stdout.write(f"Generations removed: {clear(consumer)}.")
            elif options["abandon"]:
                numbers = ", ".join(map(str, abandon(consumer, operator=_operator(options["reason"]))))
                self.stdout.write(f"Generation {numbers} is removed.")
            else:
                self._rebuild(consumer, options)
        except OutboxError as error:
            raise CommandError(str(error)) from error

    def _steer(self, consumer: Consumer, action: str, reason: str) -> None:
        if action == "pause":
            pause = pausing.pause(consumer=consumer, by=_by(), reason=reason, via=Via.COMMAND)
            self.stdout.write(f"{consumer.name} is {_told(pause)}.")
        elif pausing.resume(consumer=consumer, by=_by(), reason=reason, via=Via.COMMAND):
            self.stdout.write(f"{consumer.name} goes on.")
        else:
            self.stdout.write(f"{consumer.name} was not paused.")

    def _rebuild(self, consumer: Consumer, options: dict[str, Any]) -> None:
        rebuild = Rebuild(
            consumer,
            stop=stop_on_signals(),
            report=self._show,
            tell=self.stdout.write,
            drop_history=options["drop_history"],
            operator=_operator(options["reason"]),
        )
        if not rebuild.run():
            raise CommandError("Stopped before the swap: the same command goes on with it.", returncode=1)
        self.stdout.write(self.style.SUCCESS("The new generation is live."))
        if rebuild.left_behind is not None:
            self.stdout.write(
                self.style.WARNING(
                    f"The old one is not yet cleared away ({rebuild.left_behind}): run"
                    f" `manage.py consumers clear {consumer.name}`."
                )
            )

    def _seek(self, consumer: Consumer, options: dict[str, Any]) -> None:
        to = options["to"]
        if options["dry_run"]:
            moves = preview(consumer, to=to)
        else:
            moves = seek(consumer, to=to, by=_by(), skip=options["skip"], via=Via.COMMAND)
        for move in moves:
            self.stdout.write(
                f"{move.topic}/{move.partition}: {move.now} → {move.then}, {move.again} events come again"
                f" ({move.known} are known and will be dropped), {move.skipped} are skipped"
                + (f"; {move.forgotten} are too old: it is refused" if move.forgotten else "")
            )
        if options["dry_run"]:
            self.stdout.write("Nothing was changed.")

    def _list(self) -> None:
        for lag in all_lags():
            consumer = lag.consumer
            kind = "projection, " if consumer.projection is not None else ""
            known = ", ".join(f"generation {number} {state}" for number, state in generations_of(consumer))
            pause = pausing.pause_of(consumer)
            state = "" if pause is None else f"; {_told(pause)}"
            self.stdout.write(f"{consumer.name}: reads {', '.join(consumer.topics)}; {kind}{known}{state}")
            for line in shown(lag):
                self.stdout.write(f"  {line}")

    _shown: Progress | None = None

    def _show(self, progress: Progress) -> None:
        if progress == self._shown:
            return
        self._shown = progress
        self.stdout.write(
            f"generation {progress.generation}: {progress.read:,} of {progress.records:,} records,"
            f" {progress.percent} %"
        )


def _by() -> str:
    return f"{getpass.getuser()} on {socket.gethostname()}"


def _operator(reason: str) -> Operator:
    return Operator(_by(), reason, Via.COMMAND)


def _told(pause: pausing.Pause) -> str:
    return (
        f"paused since {pause.at:%Y-%m-%d %H:%M:%S} UTC by {pause.by}{pause.reason and f': {pause.reason}'}"
    )
