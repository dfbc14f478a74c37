"""What an operator does about events that Kafka has refused: send them again, or something in their place."""

import hashlib
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from outbox import wake
from outbox.errors import NotAsShown, NotRefused
from outbox.models import Refusal
from outbox.repair.acts import Operator, Report, Result, write_down


def refused(*, using: str = DEFAULT_DB_ALIAS) -> QuerySet[Refusal]:
    """Those that are held, in the order in which they will be sent."""
    return Refusal.objects.using(using).order_by("topic", "key", "position")


def held_behind(refusal: Refusal) -> int:
    """How many events of its key wait behind this one."""
    if refusal.key is None:
        return 0
    later = Refusal.objects.using(refusal._state.db).filter(position__gt=refusal.position)
    return later.filter(topic=refusal.topic, key=refusal.key).count()


def mark(refusal: Refusal) -> str:
    """Changes when something is asked for about the event, and when Kafka refuses it for another cause."""
    told = [str(refusal.requested_at), refusal.discarded, refusal.cause]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def resend(
    *,
    event_id: UUID,
    operator: Operator | None = None,
    shown: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> int:
    """Have an event sent again, with all that waits behind it, in order; return how many they are.

    Written down as an act of the operator, where one is named.

    The relay of their shard does it within a second. Where Kafka refuses one once more, that one and what is
    behind it stay held, with the new cause.

    shown  the mark of the event as the operator was told of it: otherwise nothing is done

    Raises NotRefused, NotAsShown.
    """
    with transaction.atomic(using=using):
        asked = _ask(event_id, shown=shown, using=using)
        _write_down(operator, "resend", "It will be sent again", event_id, asked, using=using)
    return asked


def discard(
    *,
    event_id: UUID,
    reason: str,
    operator: Operator | None = None,
    shown: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> int:
    """Give an event up: a placeholder goes out in its place, then what waits behind it; return how many.

    The placeholder has the event's id, key and number, so that readers miss nothing, the type
    outbox.EventDiscarded.v1, and says which type was discarded and why. The event stays in the outbox.
    `shown` is that of resend(). Raises NotRefused, NotAsShown.
    """
    with transaction.atomic(using=using):
        asked = _ask(event_id, shown=shown, using=using)
        Refusal.objects.using(using).filter(event_id=event_id).update(discarded=reason)
        _write_down(
            operator, "discard", "A placeholder will be sent in its place", event_id, asked, using=using
        )
    return asked


def _ask(event_id: UUID, *, shown: str | None, using: str) -> int:
    asked = _held_with(event_id, shown=shown, using=using).update(requested_at=Now())
    transaction.on_commit(lambda: wake.wake(using=using), using=using)
    return asked


def _write_down(
    operator: Operator | None, act: str, done: str, event_id: UUID, asked: int, *, using: str
) -> None:
    if operator is None:
        return
    held = Refusal.objects.using(using).get(event_id=event_id)
    done = f"{done} as soon as a relay comes to it, with {asked - 1} behind it"
    report, about = Report(Result.ASKED, done), {"topic": held.topic, "key": held.key}
    write_down(operator, act, report, using=using, consumer="", event_id=event_id, **about)


def _held_with(event_id: UUID, *, shown: str | None, using: str) -> QuerySet[Refusal]:
    held = Refusal.objects.using(using)
    one = held.select_for_update().filter(event_id=event_id).first()
    if one is None:
        raise NotRefused(f"Event {event_id} is not held: nothing was refused.")
    if shown is not None and shown != mark(one):
        raise NotAsShown(f"{_now(one)}. That is not what was shown: nothing was done.")
    return held.filter(event_id=event_id) if one.key is None else held.filter(topic=one.topic, key=one.key)


def _now(held: Refusal) -> str:
    if held.requested_at is None:
        return f"Kafka has refused it again: {held.cause}"
    return f"By now it is asked for that it be {'discarded' if held.discarded else 'sent again'}"
