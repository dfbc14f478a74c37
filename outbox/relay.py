"""The relay: publishes the outbox to Kafka, in order per key, skipping nothing.

Pages of the window are read, sent and recorded, several at a time. A page's cursor and trace rows commit
together, once Kafka has all of it and of the pages before. A crash in between sends again from the stored
cursor, a key's rows contiguously and in order, so that the first occurrence of every event is in order and
readers drop the rest by id.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseError

from outbox import mending, origin
from outbox.config import Config, config
from outbox.errors import LeaseLost, OutboxError
from outbox.kafka import BrokerError
from outbox.lease import Heartbeat, Leases, Positions
from outbox.listen import Listener
from outbox.opening import Opener
from outbox.pages import BatchRefused, Key, Page
from outbox.placing import Placing
from outbox.reading import PageReader
from outbox.recorder import Recorder, tell
from outbox.recovery import Family, backoff, family_of
from outbox.sending import Sending
from outbox.window import Cursor, WindowPage, snapshot

logger = logging.getLogger(__name__)

# How often relays look whether the shards are fairly shared. Half of it is noticed at once, on the average.
LOOK_SECONDS = 0.5
# How often a relay looks whether another database writes under its outbox's name.
CHECK_SECONDS = 60.0
# Read ahead of what has been recorded. More would only fill memory while Kafka is slow.
MOST_PAGES = 4
# Records of a page, to begin with; it grows while there is more to be sent.
FEWEST = 500
# So long a relay that gives shards away, or stops, waits for what is under way.
DRAIN_SECONDS = 5.0


class Relay:
    """One relay process. `run()` returns after `stop` is set, with nothing of its own left undone."""

    def __init__(
        self, *, stop: threading.Event, using: str = DEFAULT_DB_ALIAS, settings: Config | None = None
    ) -> None:
        self._stop = stop
        self._using = using
        self._settings = settings or config()
        self._leases = Leases(using=using, seconds=self._settings.lease)
        self._listener = Listener(using=using)
        self._placing = Placing(using=using)
        self._positions: Positions = {}
        self._held: set[Key] = set()
        self._delays = backoff()
        self._limit = FEWEST
        # Since Kafka refused a batch, for one record that is yet to be found.
        self._suspicious = False
        self._looked_at = self._checked_at = 0.0

    def run(self) -> None:
        """Relay until stopped; what is away is waited for, with backoff, however long it takes."""
        try:
            while not self._stop.is_set():
                try:
                    with Heartbeat(self._leases):
                        self._relay()
                except (OutboxError, DatabaseError) as error:
                    self._recover(error)
        finally:
            self._finish()

    def _relay(self) -> None:
        """Until told to stop, or until something fails: then all begins again at the stored cursors."""
        self._listener.listen()
        self._looked_at = 0.0
        self._check_origin()
        self._leases.begin_again()
        self._opener = Opener(size=self._settings.relay_page_bytes, using=self._using)
        self._sending = Sending(self._settings, held=self._held, stop=self._stop, suspicious=self._suspicious)
        try:
            with (
                PageReader(size=self._settings.relay_page_bytes, using=self._using) as self._reader,
                Recorder(self._leases) as self._recorder,
            ):
                while not self._stop.is_set():
                    if time.monotonic() - self._looked_at > LOOK_SECONDS:
                        self._balance()
                    self._turn()
                self._drain()
        finally:
            self._sending.abandon()

    def _turn(self) -> None:
        """Send what there is; without anything to send, wait for it or for what is under way."""
        # Where nothing can be recorded, little is sent again and again.
        most = MOST_PAGES if self._recorder.proved else 1
        sent = self._send_next() if len(self._sending) + len(self._recorder) < most else 0
        if sent:
            self._hear(0)
        elif len(self._sending):
            self._hear(self._sending.patience())
        elif len(self._recorder) >= most:
            self._recorder.wait(self._settings.relay_poll)
            self._recorder.check()
        else:
            self._recorder.check()
            if self._recorder.proved or not len(self._recorder):
                self._delays = backoff()
            self._listener.wait(self._settings.relay_poll)

    def _send_next(self) -> int:
        """Send the next page of each window; return how many records they were."""
        opened = self._open()
        sent, full, moved = 0, False, []
        most = self._sending.most
        limit = min(self._limit, most)
        for cursor, shards in self._positions.items():
            found = opened or self._reader.read(cursor, shards, limit=limit, following=min(2 * limit, most))
            after = cursor.after(found)
            # A window without rows leaves nothing to be written: a wider one holds nothing more. But one of
            # which something was sent is to be known to be over.
            if found.records or cursor.position:
                self._sending.send(Page(found.records, self._placing.places(found.records), shards, after))
            sent += len(found.records)
            full = full or not found.last
            moved.append((after, shards))
        self._positions = _merged(moved)
        self._reader.forget_all_but(self._positions)
        self._limit = min(2 * self._limit, self._settings.relay_page) if full else FEWEST
        return sent

    def _open(self) -> WindowPage | None:
        """Give an end to all that have come to theirs; return the only window's rows, if they are few."""
        if all(cursor.current for cursor in self._positions):
            return None
        found = None
        if len(self._positions) == 1:
            [(cursor, shards)] = self._positions.items()
            now, found = self._opener.open(cursor.previous, shards=shards)
        else:
            # One end for all: they then come equally far, and are read together.
            now = snapshot(using=self._using)
        self._positions = _merged(
            (cursor if cursor.current else replace(cursor, current=now), shards)
            for cursor, shards in self._positions.items()
        )
        return found

    def _hear(self, timeout: float) -> None:
        """Hear what Kafka says, and have recorded what is done."""
        self._recorder.put(self._sending.hear(timeout))
        self._recorder.check()

    def _drain(self) -> bool:
        """Wait for all that is under way to be recorded; whether it was."""
        end = time.monotonic() + DRAIN_SECONDS
        while (len(self._sending) or len(self._recorder)) and time.monotonic() < end:
            if len(self._sending):
                self._hear(0.05)
            else:
                self._recorder.wait(0.05)
                self._recorder.check()
        return not len(self._sending) and not len(self._recorder)

    def _balance(self) -> None:
        """Give away what others should have, take what nobody has."""
        self._looked_at = time.monotonic()
        if self._looked_at - self._checked_at > CHECK_SECONDS:
            with suppress(BrokerError):  # that is met elsewhere
                self._check_origin()
        # What is under way to the old partitions is to be there before a key goes to another one.
        if self._placing.is_outdated() and self._drain():
            self._placing.refresh()
        self._mend()
        imbalance = self._leases.look()
        if imbalance.spare and self._drain():
            spare = set(self._leases.shards[-imbalance.spare :])
            self._leases.give(_only(self._positions, spare))
            self._positions = _only(self._positions, set(self._leases.shards))
        if imbalance.take and self._drain():
            taken = self._leases.take(imbalance.take)
            self._positions = _merged([*self._positions.items(), *taken.items()])
            self._load_held()
        if imbalance:
            shards = ", ".join(map(str, self._leases.shards)) or "none: others have them"
            logger.info("relaying shards %s as %s", shards, self._leases.owner)

    def _check_origin(self) -> None:
        self._checked_at = time.monotonic()
        origin.check(settings=self._settings, using=self._using)

    def _mend(self) -> None:
        """Send what was refused and has been asked for since. Nothing else is under way meanwhile."""
        if not mending.requested(self._leases) or not self._drain():
            return
        stuck: set[Key] = set()
        for one in mending.requested(self._leases):
            if one.key not in stuck and not self._mended(one) and one.key is not None:
                stuck.add(one.key)

    def _mended(self, one: mending.Requested) -> bool:
        """Whether Kafka has it now, and the next one of its key may follow."""
        [place] = self._placing.places([one.record])
        cursor = next(cursor for cursor, shards in self._positions.items() if one.shard in shards)
        alone = Page([one.record], [place], [one.shard], cursor)
        if one.key is not None:
            self._held.discard(one.key)
        self._sending.send_alone(alone)
        if alone.refused:
            mending.refused_again(one, alone, leases=self._leases)
            return False
        mending.sent(one, alone, leases=self._leases)
        tell([alone], using=self._using)
        if one.key is not None and mending.still_held(one.key, leases=self._leases):
            self._held.add(one.key)
        return True

    def _load_held(self) -> None:
        """The keys that are held by now. With pages under way there may be more."""
        self._held.clear()
        with connections[self._using].cursor() as sql:
            sql.execute("SELECT DISTINCT topic, key FROM outbox_refusal WHERE key IS NOT NULL")
            self._held.update((topic, key.encode()) for topic, key in sql.fetchall())

    def _recover(self, error: Exception) -> None:
        """Begin again at the stored cursors, with a new producer: a crashed database may be behind memory."""
        self._suspicious = isinstance(error, BatchRefused)
        if isinstance(error, BatchRefused):
            logger.info("a batch was refused (%s): looking for the record", error)
        elif isinstance(error, LeaseLost):
            logger.warning("%s", error)
        elif family_of(error) in {Family.RECOVERABLE, Family.CONTENTION}:
            logger.warning("waiting: %s", str(error).partition("\n")[0])
        else:
            raise error
        self._listener.close()
        self._positions, self._limit = {}, FEWEST
        connections[self._using].close()
        if not isinstance(error, BatchRefused):
            self._stop.wait(next(self._delays))

    def _finish(self) -> None:
        self._listener.close()
        try:
            self._leases.leave()
        except DatabaseError as error:
            logger.warning("the leases run out by themselves: %s", str(error).partition("\n")[0])
        connections[self._using].close()


def _only(positions: Positions, these: set[int]) -> Positions:
    return _merged((cursor, [one for one in shards if one in these]) for cursor, shards in positions.items())


def _merged(positions: Iterable[tuple[Cursor, list[int]]]) -> Positions:
    """Shards that have come equally far together; without those of which there are none."""
    merged: Positions = {}
    for cursor, shards in positions:
        if shards:
            merged.setdefault(cursor, []).extend(shards)
    return merged
