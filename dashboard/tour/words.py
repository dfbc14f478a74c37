"""What each step of the tour is called and says, in plain words: what happens, and why nothing is lost."""

from typing import NamedTuple

from contracts.topics import PAYMENTS
from dashboard.chaos.poison import what_is_wrong


class Words(NamedTuple):
    """Of one step."""

    title: str
    told: str


_DAYS = PAYMENTS.retention.days if PAYMENTS.retention else 0
WORDS = (
    Words(
        "Make a payment",
        "A payment is a change of one row, and its event is written in the same transaction: neither can be"
        " without the other. A relay sends the event to Kafka, and every service follows on its own. Nobody"
        " calls anybody.",
    ),
    Words(
        "Stop loyalty, and pay again",
        "Loyalty ends in order, and how far it had come is kept. Payments are taken as fast as before and"
        " become orders: nobody waits for loyalty. Its events stay in Kafka, so no points are lost; they come"
        " later.",
    ),
    Words(
        "Watch the delay",
        "Sync delay is the time from an event to its effect. Loyalty's grows by a second each second, and"
        f" beyond its limit an alert is raised. The events stay in Kafka for {_DAYS} days, so there is time.",
    ),
    Words(
        "Start loyalty",
        "It reads on from where it was. What waited is processed in order, and once: the points, and the note"
        " that the event is done, are one transaction. Then its delay is milliseconds again.",
    ),
    Words(
        "Poison an event, and repair it",
        f"A faulty payment. {what_is_wrong()}. Orders refuses it however often it tries, so it is kept as a"
        " dead letter; what follows for this payment waits in order behind it, all others go on. With"
        " corrected data it is processed, and then what waited.",
    ),
)
