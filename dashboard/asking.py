"""Asking the database again and again: for so long and no longer, and what was too slow rests for a while.

So one slow question costs the others a tenth of their time at most, and is itself known to be not known.
"""

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from outbox.recovery import Family, family_of

STATEMENT_TIMEOUT_MS = 3_000
# A question rests for so many times as long as its answer took.
REST = 9.0
# What is asked in turn takes so much of a second, all together.
BUDGET = 0.5
INTERVAL = 1.0
# Nobody has watched for so long: what was told then is not told again.
FORGET = 5.0

Q = TypeVar("Q", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TooSlow:
    """In place of an answer: the database is there, but has not given one in time since then."""

    since: datetime


@contextmanager
def one_look(*, using: str = DEFAULT_DB_ALIAS, snapshot: bool = False) -> Iterator[None]:
    """A transaction in which no statement takes longer than STATEMENT_TIMEOUT_MS; of one moment, if asked."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as sql:
            if snapshot:
                sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            sql.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)])
        yield


class Shared(Generic[T]):
    """An answer for all who ask for it again and again: read by one of them at a time, and once a second."""

    def __init__(self, read: Callable[[], T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._told: tuple[T, float] | None = None

    def answer(self) -> T:
        """That of this second. Raises what goes wrong when it is read, and keeps nothing then."""
        with self._lock:
            if self._told is None or self._clock() - self._told[1] >= INTERVAL:
                self._told = None
                self._told = self._read(), self._clock()
            return self._told[0]

    def forget(self) -> None:
        """Read anew when asked next."""
        with self._lock:
            self._told = None


class Patience(Generic[Q]):
    """Asks questions by their names, and remembers which are too slow."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slow: dict[Q, tuple[TooSlow, float]] = {}

    def ask(self, name: Q, question: Callable[[], T]) -> T | TooSlow:
        """The answer. Where it took too long that is said, and again, without asking, while it rests.

        Raises what else goes wrong, as when the database is away.
        """
        begun, at = self._clock(), datetime.now(UTC)
        slow, due = self._slow.get(name, (TooSlow(at), begun))
        if begun < due:
            return slow
        try:
            answer = question()
        except Error as error:
            if family_of(error) is not Family.CONTENTION:
                raise
            now = self._clock()
            self._slow[name] = slow, now + REST * (now - begun)
            return slow
        self._slow.pop(name, None)
        return answer

    def forget(self, name: Q) -> None:
        """Nobody asks for it any more."""
        self._slow.pop(name, None)


class Turns(Generic[Q, T]):
    """Answers questions one by one: each costs a share of the time, however many different ones there are.

    A question whose answer took long is asked again after a while only; and where very many are asked, all of
    them together take half of one connection's time: each is then renewed more seldom, in turn.
    """

    def __init__(
        self,
        answer: Callable[[Q], T],
        *,
        clock: Callable[[], float] = time.monotonic,
        budget: float = BUDGET,
    ) -> None:
        self._answer = answer
        self._clock = clock
        self._budget = budget
        self._patience = Patience[Q](clock=clock)
        self._told: dict[Q, T | TooSlow] = {}
        self._due: dict[Q, float] = {}
        self._last = 0.0
        self._one_at_a_time = threading.Lock()

    def read(self, questions: Collection[Q]) -> Mapping[Q, T | TooSlow]:
        """The answer to each, renewed where it is due; a new one is left out until its turn.

        Where the last viewer's question is still read as the next viewer comes, that is waited for.
        """
        with self._one_at_a_time:
            return self._read(questions)

    def _read(self, questions: Collection[Q]) -> Mapping[Q, T | TooSlow]:
        begun = self._clock()
        gone = self._due.keys() - questions if begun - self._last < FORGET else self._due.keys()
        for question in set(gone):
            self._due.pop(question)
            self._told.pop(question, None)
            self._patience.forget(question)
        for fresh in set(questions) - self._due.keys():
            self._due[fresh] = -INTERVAL
        self._last = begun
        for question in sorted(questions, key=self._due.__getitem__):
            asked = self._clock()
            if self._due[question] > asked or asked - begun >= self._budget:
                break
            self._told[question] = self._patience.ask(question, lambda: self._answer(question))  # noqa: B023
            took = self._clock() - asked
            # A little less than the interval, or it would be missed by a moment at each second turn.
            self._due[question] = asked + max(INTERVAL * 0.9, took * (1 + REST))
        return dict(self._told)
