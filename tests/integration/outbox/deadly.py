"""A consumer in a process of its own, whose handler does what the event's text says: also to its process.

python -m tests.integration.outbox.deadly TOPIC CONSUMER
"""

import os
import signal
import sys
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.outbox.deadly_settings"

import django

django.setup()

from datetime import timedelta  # noqa: E402

from outbox import Consumer, Delivery, Topic, handles, publish  # noqa: E402
from outbox.consumer import ConsumerWorker  # noqa: E402
from outbox.stopping import stop_on_signals  # noqa: E402
from tests.engine import Noted, noted_on  # noqa: E402


def handle(delivery: Delivery[Noted]) -> None:
    """Does as it is told."""
    text = delivery.event.text
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "exit":
        sys.exit(3)
    if text == "abort":
        os.abort()
    if text == "stuck":
        time.sleep(3_600)
    if text.startswith("effect"):
        publish(Noted(about="effects", text=text))
    if text == "effect of the frozen" and os.environ.get("FREEZE"):
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    topic, name = sys.argv[1:]
    consumer = Consumer(name=name, sync_delay_limit=timedelta(seconds=5))
    handles(consumer, noted_on(Topic(topic, partitions=2, retention=timedelta(days=1))))(handle)
    ConsumerWorker(consumer, stop=stop_on_signals()).run()
