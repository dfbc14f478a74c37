"""Sends what was written down to each channel: in order, at least once, and by one process at a time.

A channel has a position in the notices, as a consumer has in a topic: it moves on once the receiver has one.
A receiver that is away is tried again later and later, and gets what it missed, as far as a day back. Nothing
is sent inside a transaction: the claim on a channel is a row with an end, so that a killed sender holds up
others for a minute.
"""

import logging
import threading
import time
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Max, QuerySet

from outbox import clock
from outbox.alerts.alarms import Channel, Notice
from outbox.alerts.mail import Mail
from outbox.alerts.options import Alerts, alert_options
from outbox.alerts.webhook import Webhook
from outbox.errors import AlertsMisconfigured, NotDelivered, NotInTransaction

CLAIM = timedelta(seconds=60)
# No run takes longer than this and one more delivery: the claim outlasts it.
RUN_SECONDS = 30.0
FIRST_DELAY, LONGEST_DELAY = 10.0, 300.0
# What is older is of no use to anybody, and more than so much nobody reads.
OLDEST = timedelta(days=1)
MOST = 1_000

logger = logging.getLogger(__name__)

Way = Webhook | Mail

# An end that is further away than any claim was written while the database's clock was ahead.
_CLAIM = """
UPDATE outbox_alarm_channel SET claimed_until = clock_timestamp() + make_interval(secs => %(claim)s)
WHERE name = %(name)s AND (next_try_at IS NULL OR next_try_at <= clock_timestamp()
        OR next_try_at > clock_timestamp() + make_interval(secs => 2 * %(longest)s))
    AND (claimed_until IS NULL OR claimed_until <= clock_timestamp()
        OR claimed_until > clock_timestamp() + make_interval(secs => 2 * %(claim)s))
RETURNING claimed_until
"""


def ways(options: Alerts) -> list[Way]:
    """The channels that are configured."""
    found: list[Way] = []
    if options.webhook:
        found.append(Webhook(options))
    if options.email:
        found.append(Mail(options.email))
    return found


def send_notices(*, using: str = DEFAULT_DB_ALIAS) -> int:
    """Send what every channel has yet to get, as far as it takes it; return how many were sent.

    Raises NotInTransaction when called in one, and the database's errors.
    """
    if connections[using].in_atomic_block:
        raise NotInTransaction("Notices are sent outside transaction.atomic(): a receiver may be slow.")
    return sum(_Run(way, using).go() for way in ways(alert_options()))


_beside = threading.Lock()


def send_beside(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """The same from a thread of this process, unless one is at it: for who has other work and cannot wait."""
    if not _beside.acquire(blocking=False):
        return

    def send() -> None:
        try:
            send_notices(using=using)
        except Exception as error:  # noqa: BLE001  (tried again in ten seconds, by whoever looks then)
            logger.warning("notices could not be sent: %s", error)
        finally:
            connections[using].close()
            _beside.release()

    threading.Thread(target=send, name="outbox-alerts", daemon=True).start()


class _Run:
    """One process's turn at one channel."""

    def __init__(self, way: Way, using: str) -> None:
        self._way = way
        self._using = using
        self._rows = Channel.objects.using(using).filter(name=way.name)
        self._claim: datetime | None = None

    def go(self) -> int:
        if not self._rows.exists():
            self._begin()
        with connections[self._using].cursor() as sql:
            seconds = {"claim": CLAIM.total_seconds(), "longest": LONGEST_DELAY}
            sql.execute(_CLAIM, {"name": self._way.name, **seconds})
            row = sql.fetchone()
        if row is None:
            return 0
        self._claim = row[0]
        try:
            return self._send_all()
        finally:
            self._release()

    def _begin(self) -> None:
        """From here on; of what is wrong by now, the next look tells it."""
        last = Notice.objects.using(self._using).aggregate(last=Max("id"))["last"] or 0
        self._rows.get_or_create(name=self._way.name, defaults={"position": last, "begun_after": last})

    def _release(self) -> None:
        self._ours.update(claimed_until=None)

    @property
    def _ours(self) -> QuerySet[Channel]:
        """The row, while nobody has taken it over."""
        return self._rows.filter(claimed_until=self._claim)

    def _send_all(self) -> int:
        sent, began = 0, time.monotonic()
        self._give_up_what_is_old()
        while time.monotonic() - began < RUN_SECONDS:
            channel = self._ours.first()
            if channel is None:
                return sent
            notice = Notice.objects.using(self._using).left_for(channel).order_by("id").first()
            if notice is None:
                return sent
            try:
                self._way.send(notice.body)
            except (NotDelivered, AlertsMisconfigured) as error:
                self._failed(channel, str(error))
                return sent
            sent += 1
            self._delivered(channel, notice)
        return sent

    def _delivered(self, channel: Channel, notice: Notice) -> None:
        now = clock.now(using=self._using)
        if channel.failing_since is not None:
            logger.info("alerts reach %s again", self._way.shown)
        claim = now + CLAIM
        moved = self._ours.update(
            position=notice.id, attempts=0, next_try_at=None, delivered_at=now, failing_since=None, reason="",
            claimed_until=claim,
        )  # fmt: skip
        if moved:
            self._claim = claim

    def _failed(self, channel: Channel, reason: str) -> None:
        now = clock.now(using=self._using)
        if channel.failing_since is None:
            logger.warning("alerts do not reach %s: %s", self._way.shown, reason)
        delay = min(FIRST_DELAY * 2**channel.attempts, LONGEST_DELAY)
        self._ours.update(
            attempts=min(channel.attempts + 1, 30),
            next_try_at=now + timedelta(seconds=delay),
            failing_since=channel.failing_since or now,
            reason=reason,
        )

    def _give_up_what_is_old(self) -> None:
        channel = self._ours.first()
        if channel is None:
            return
        pending = Notice.objects.using(self._using).left_for(channel)
        old = pending.filter(at__lt=clock.now(using=self._using) - OLDEST).aggregate(last=Max("id"))["last"]
        beyond = pending.order_by("-id").values_list("id", flat=True)[MOST : MOST + 1].first()
        last = max(old or 0, beyond or 0)
        if not last:
            return
        lost = pending.filter(id__lte=last).count()
        self._ours.update(position=last, given_up=channel.given_up + lost)
        logger.warning("alerts: %s never got %s notices, it was away for too long", self._way.shown, lost)
