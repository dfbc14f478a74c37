"""What a batch sets aside instead of handling. Written set-wise: no record costs a statement of its own."""

import hashlib
import logging
import os
import sysconfig
import traceback
from pathlib import Path
from types import FrameType

from outbox import clock
from outbox.consumer_models import DiscardedEvent
from outbox.context import within
from outbox.ids import new_id
from outbox.inbox import Inbox, Key
from outbox.inserting import insert
from outbox.item import Item
from outbox.models import DeadLetter, LetterState, ParkCause, WaitingEvent

_ENGINE = f"{Path(__file__).parent}{os.sep}"
_LIBRARIES = (
    f"{sysconfig.get_path('stdlib')}{os.sep}",
    f"{os.sep}site-packages{os.sep}",
    f"{os.sep}dist-packages{os.sep}",
    "<frozen ",
)

logger = logging.getLogger(__name__)

_LETTER = ("consumer", "generation", "event_id")
_HOW_IT_DIED = (
    "cause", "error", "traceback", "fingerprint", "attempts", "state", "settled_at",
)  # fmt: skip
# When a letter first died stays, however often it is tried; one that had been settled has died anew.
_FIRST = {"died_at": f"there.state = '{LetterState.OPEN}'"}


class Aside:
    """Dead letters, discarded and waiting events, and parked keys of a transaction, until `flush()`."""

    def __init__(self, inbox: Inbox, *, using: str) -> None:
        self._inbox = inbox
        self._using = using
        self._letters: list[DeadLetter] = []
        self._discarded: list[DiscardedEvent] = []
        self._waiting: list[WaitingEvent] = []
        self._parked: dict[Key, tuple[ParkCause, Item]] = {}

    def wait(self, item: Item, *, key: Key) -> None:
        """Keep the event until its key is released."""
        self._waiting.append(
            WaitingEvent(**self._of_inbox(), key=key[1], received_at=item.received_at, **item.copy())
        )

    def park(self, item: Item, *, key: Key, cause: ParkCause) -> None:
        """Have the key's later events wait, for this cause from now on."""
        self._parked[key] = cause, item

    def bury(self, item: Item, error: Exception, *, attempts: int) -> None:
        """Write the event's dead letter, and say so in the log."""
        now = clock.now(using=self._using)
        self._letters.append(
            DeadLetter(
                **self._of_inbox(),
                id=new_id(now),
                key=None if item.key is None else item.key[1],
                occurred_at=item.occurred_at,
                cause=type(error).__name__,
                error=storable(str(error)),
                traceback=storable(_trace(item, error)),
                fingerprint=fingerprint(error),
                attempts=attempts,
                died_at=now,
                **item.copy(),
            )
        )
        with within(item.cause):
            logger.error("%s: dead letter, %s", self._inbox.consumer, _said(item, error))

    def discard(self, item: Item, error: Exception, *, reason: str) -> None:
        """List the event as passed over for this reason, and say so in the log."""
        self._discarded.append(
            DiscardedEvent(
                **self._of_inbox(),
                event_id=item.inbox_id,
                topic=item.record.topic,
                partition=item.record.partition,
                offset=item.record.offset,
                key=None if item.key is None else item.key[1],
                number=item.number,
                type=item.type,
                cause=type(error).__name__,
                error=storable(str(error)),
                reason=reason,
                discarded_at=clock.now(using=self._using),
            )
        )
        with within(item.cause):
            logger.warning("%s: discarded (%s), %s", self._inbox.consumer, reason, _said(item, error))

    def flush(self) -> None:
        """Write what has been set aside since the last call."""
        # Once more, when it was replayed, or when its inbox row has been pruned: the record's copy stays.
        insert(self._letters, using=self._using, unique=_LETTER, update=_HOW_IT_DIED, keep=_FIRST)
        insert(self._discarded, using=self._using)
        insert(self._waiting, using=self._using)
        self._inbox.park({key: (cause, item.inbox_id) for key, (cause, item) in self._parked.items()})
        self._letters, self._discarded, self._waiting, self._parked = [], [], [], {}

    def _of_inbox(self) -> dict[str, object]:
        return {"consumer": self._inbox.consumer, "generation": self._inbox.generation}


def _said(item: Item, error: Exception) -> str:
    record = item.record
    what = f"{item.type or 'record'} {item.inbox_id} at {record.topic}/{record.partition}/{record.offset}"
    return storable(f"{what}: {type(error).__name__}: {error}")


def _trace(item: Item, error: Exception) -> str:
    """Where it was raised; of a record's own fault the message says it all."""
    if error is item.fault and error.__cause__ is None:
        return "".join(traceback.format_exception_only(error))
    return "".join(traceback.format_exception(error))


def fingerprint(error: BaseException) -> str:
    """The same for errors of one type raised at one place, whatever their message.

    The place is the innermost function that is neither a library's nor the engine's, where there is one: an
    error of the database is of whoever asked, and not of its driver.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not _is_foreign(frame)] or frames
    place = f"{own[-1].f_globals.get('__name__')}.{own[-1].f_code.co_qualname}" if own else ""
    return hashlib.sha256(f"{type(error).__qualname__}@{place}".encode()).hexdigest()[:16]


def _is_foreign(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith(_ENGINE) or any(part in path for part in _LIBRARIES)


def storable(text: str) -> str:
    """Text that PostgreSQL can hold, and a log be written in."""
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
