"""Publishes events of a few keys, from several threads, until it is told to stop (by its stdin). A process.

Some transactions are held for a while, some publish to two keys, some are rolled back.
"""

import os
import random
import sys
import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup()

from django.db import Error, connections, transaction  # noqa: E402

import outbox  # noqa: E402
from contracts.loyalty import PointsEarned  # noqa: E402

THREADS = 4
KEYS = 40  # in every shard some


def event(chance: random.Random) -> PointsEarned:
    return PointsEarned(
        entry_id=uuid4(),
        merchant_id=UUID(int=7),
        customer_id=f"c-{chance.randrange(KEYS)}",
        payment_id=uuid4(),
        points=1,
    )


def work(stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    # At once after one another now and then, and not all that the machine can do: relays need it too.
    while not stop.wait(chance.choice([0, 0, 0.02, 0.1])):
        try:
            with outbox.atomic():
                for _ in range(chance.choice([1, 1, 2, 5])):
                    outbox.publish(event(chance), at=datetime.now(UTC))
                stop.wait(chance.choice([0, 0, 0, 0.02]))
                if chance.random() < 0.1:
                    transaction.set_rollback(True)
        except Error:
            stop.wait(0.2)
    connections.close_all()


if __name__ == "__main__":
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop, seed)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
