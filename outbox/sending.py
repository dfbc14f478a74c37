"""Sending pages so that a record that Kafka refuses holds its key, and nothing else."""

import logging
import threading
import time

from outbox.config import Config
from outbox.kafka import BrokerError
from outbox.pages import BatchRefused, Key, Page, PageSender

logger = logging.getLogger(__name__)

# Of a page among whose records a refused one is looked for.
CAREFULLY = 100
# So many records are sent page by page, once a batch among them was refused.
SUSPECTED = 20_000
# Until it is said that Kafka does not answer.
SILENCE_SECONDS = 5.0
# Until all is sent again, with a new client: one that a broker told that there was none may stay lost.
LOST_SECONDS = 30.0


class Sending:
    """The pages that are on their way, and what is known of Kafka's silence.

    Where Kafka refuses a batch, which may be for any record of it, all begins again with pages that go alone
    (`suspicious`); the one in which it happens again goes record by record, with a new producer after each
    that is refused.
    """

    def __init__(
        self, settings: Config, *, held: set[Key], stop: threading.Event, suspicious: bool = False
    ) -> None:
        self._settings, self._held, self._stop = settings, held, stop
        self._suspected = SUSPECTED if suspicious else 0
        self._done: list[Page] = []
        self._heard_at, self._silent = time.monotonic(), False
        self._sender = self._new_sender()

    def __len__(self) -> int:
        """Pages that hear() has not returned."""
        return len(self._sender) + len(self._done)

    @property
    def most(self) -> int:
        """How many records a page may have."""
        return CAREFULLY if self._suspected else self._settings.relay_page

    def abandon(self) -> None:
        """Forget what is under way; it may or may not reach Kafka."""
        self._sender.abandon()

    def send(self, page: Page) -> None:
        """Send a page after those before it. Raises BatchRefused, BrokerError, here or in hear()."""
        if not len(self._sender):
            self._heard_at = time.monotonic()
        if self._suspected:
            self._suspected = max(0, self._suspected - len(page.records))
            self._done.append(self._sent_carefully(page))
        else:
            self._sender.send(page)

    def send_alone(self, page: Page) -> None:
        """Send one record, with nothing else under way; return when Kafka has taken or refused it."""
        try:
            self._sender.send(page)
            self._wait()
        except BatchRefused as error:
            self._sender.hold(page, page.records[0], str(error))
            self._renew()

    def hear(self, timeout: float) -> list[Page]:
        """Hear for up to `timeout` seconds what Kafka says; return the pages that are done, in order.

        Raises BatchRefused; BrokerError, also when nothing has been heard for LOST_SECONDS.
        """
        self._sender.poll(timeout)
        done, self._done = [*self._done, *self._sender.done()], []
        if done:
            self._heard_at = time.monotonic()
            if self._silent:
                logger.info("Kafka answers again")
                self._silent = False
        elif len(self._sender) and time.monotonic() - self._heard_at > LOST_SECONDS:
            raise BrokerError(f"Kafka has not answered for {LOST_SECONDS:.0f} s")
        elif len(self._sender) and time.monotonic() - self._heard_at > SILENCE_SECONDS and not self._silent:
            self._sender.check()
            logger.warning("Kafka does not answer; %d pages are on their way, and wait", len(self._sender))
            self._silent = True
        return done

    def patience(self) -> float:
        """How long to wait for Kafka before looking for what has been published since."""
        waited = time.monotonic() - self._heard_at
        return min(max(0.005, waited / 4), self._settings.relay_poll)

    def _renew(self) -> None:
        self.abandon()
        self._sender = self._new_sender()

    def _new_sender(self) -> PageSender:
        return PageSender(self._settings.kafka, max_bytes=self._settings.max_event_bytes, held=self._held)

    def _sent_carefully(self, page: Page) -> Page:
        try:
            self._sender.send(page)
            self._wait()
        except BatchRefused:
            self._suspected = 0
            self._renew()
            page = Page(page.records, page.places, page.shards, page.after)
            for number in range(len(page.records)):
                one = Page([page.records[number]], [page.places[number]], page.shards, page.after)
                self.send_alone(one)
                page.offsets[number] = one.offsets[0]
                page.refused += one.refused
        return page

    def _wait(self) -> None:
        """Return when Kafka has all that is under way. Raises BatchRefused, BrokerError."""
        while not self._sender.done():
            self._sender.poll(self._settings.relay_poll)
            if self._stop.is_set() and len(self._sender):
                raise BrokerError("stopped while Kafka was away; the page will be sent again")
