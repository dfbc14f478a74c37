"""A client that does not give up: it pays, refunds and cancels until it is told to stop (by its stdin).

Run as a process. Each payment is one of a few customers', so that the loyalty keys are contended. Some
payments are refunded at once, before anyone can have made their orders; of some older ones the order is
cancelled; of some both happen. When the database is away it goes on later; what was committed, the database
says afterwards.
"""

import itertools
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup()

from django.db import Error, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from contracts.money import Money  # noqa: E402
from orders.errors import OrderError  # noqa: E402
from orders.models import Order  # noqa: E402
from orders.services import cancel_order  # noqa: E402
from payments.errors import PaymentError  # noqa: E402
from payments.services import refund_payment, request_payment, validate_payment  # noqa: E402

MERCHANT = UUID(int=7)
THREADS = 3
CUSTOMERS = 5
# Seconds between two payments of a thread: the load is not to take the processor from what is tested.
PAUSE = 0.06
# An order is cancelled so many payments of its thread later, or as soon as it exists: services may be behind.
LATER, KEPT = 20, 400


def pay(number: int) -> UUID:
    payment, _ = request_payment(
        merchant_id=MERCHANT,
        customer_id=f"customer-{number % CUSTOMERS}",
        money=Money(amount_minor=1_000 + number, currency="EUR"),
        at=timezone.now(),
    )
    validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=timezone.now())
    return payment.id


def refund(payment_id: UUID) -> None:
    with suppress(PaymentError):  # its order was cancelled meanwhile, or is just being
        refund_payment(payment_id=payment_id, merchant_id=MERCHANT, reason="sorry", at=timezone.now())


def cancel_one(paid: deque[UUID]) -> UUID | None:
    """Cancel the order of the oldest payment that has one, and take it from these."""
    orders = {order.payment_id: order for order in Order.objects.filter(payment_id__in=paid)}
    payment_id = next((one for one in paid if one in orders), None)
    if payment_id is not None:
        paid.remove(payment_id)
        with suppress(OrderError):  # its payment was refunded meanwhile
            order_id = orders[payment_id].id
            cancel_order(order_id=order_id, merchant_id=MERCHANT, reason="sorry", at=timezone.now())
    return payment_id


def work(stop: threading.Event, seed: int) -> None:
    paid: deque[UUID] = deque(maxlen=KEPT)
    for turn in itertools.count():
        if stop.wait(PAUSE):
            return
        try:
            payment_id = pay(seed + turn * THREADS)
            if turn % 6 == 0:
                refund(payment_id)
            if turn % 6 in {1, 2} and len(paid) >= LATER:
                cancelled = cancel_one(paid)
                if turn % 6 == 2 and cancelled is not None:
                    refund(cancelled)
            paid.append(payment_id)
        except Error:
            connections.close_all()
            stop.wait(0.2)


if __name__ == "__main__":
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop, seed)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
