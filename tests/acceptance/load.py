"""A client that does not give up: requests and validates payments until it is told to stop (by its stdin).

Run as a process. Each payment is one of a few customers', so that the loyalty keys are contended. When
the database is away it tries again; which payments were committed, the database says afterwards.
"""

import os
import sys
import threading
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup()

from django.db import Error, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from contracts.money import Money  # noqa: E402
from payments.services import request_payment, validate_payment  # noqa: E402

MERCHANT = UUID(int=7)
THREADS = 3
CUSTOMERS = 5


def pay(number: int) -> None:
    payment, _ = request_payment(
        merchant_id=MERCHANT,
        customer_id=f"customer-{number % CUSTOMERS}",
        money=Money(amount_minor=1_000 + number, currency="EUR"),
        at=timezone.now(),
    )
    validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=timezone.now())


def work(stop: threading.Event, seed: int) -> None:
    number = seed
    while not stop.wait(0.02):
        try:
            pay(number)
        except Error:
            connections.close_all()
            stop.wait(0.2)
        number += THREADS


if __name__ == "__main__":
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop, seed)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
