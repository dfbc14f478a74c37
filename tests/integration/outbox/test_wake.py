"""Wake-ups: after the commit, outside the transaction, many as one."""

import os
import threading
import warnings

import psycopg
import pytest
from django.db import connection, transaction

from outbox import publish, wake
from outbox.listen import Listener
from tests.engine import Noted, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


class Ear:
    """A session that counts notifications."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        self._session = psycopg.connect(
            host=parameters["host"],
            port=parameters["port"],
            user=parameters["user"],
            password=parameters["password"],
            dbname=parameters["dbname"],
            autocommit=True,
        )
        self._session.execute(f"LISTEN {wake.CHANNEL}")

    def heard(self, *, seconds: float) -> int:
        return len(list(self._session.notifies(timeout=seconds)))

    def close(self) -> None:
        self._session.close()


def test_a_commit_wakes_and_a_rollback_does_not() -> None:
    ear = Ear()
    with transaction.atomic():
        publish(Noted(about="a"))
        assert ear.heard(seconds=0.2) == 0
    assert until(lambda: ear.heard(seconds=0.1)) == 1
    with transaction.atomic():
        publish(Noted(about="a"))
        transaction.set_rollback(True)
    assert ear.heard(seconds=0.3) == 0
    ear.close()


def test_a_burst_is_a_few_notifications() -> None:
    ear = Ear()
    for _ in range(200):
        wake.wake(using="default")
    heard = until(lambda: ear.heard(seconds=0.5))
    assert 1 <= heard < 100
    ear.close()


def test_a_listener_returns_at_the_first_wake_up_or_at_its_timeout() -> None:
    listener = Listener(using="default")
    listener.listen()
    listener.wait(0.05)
    timer = threading.Timer(0.1, lambda: wake.wake(using="default"))
    timer.start()
    listener.wait(60)
    timer.join()
    listener.close()


def test_a_forked_child_is_not_held_up_by_a_lock_of_its_parent() -> None:
    with wake._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
        if child == 0:
            os._exit(0 if wake._lock.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_end_when_told_and_begin_again() -> None:
    wake.wake(using="default")
    until(lambda: any(thread.name == "outbox-wake-default" for thread in threading.enumerate()))
    wake.stop()
    assert not any(thread.name == "outbox-wake-default" for thread in threading.enumerate())
    ear = Ear()
    wake.wake(using="default")
    assert until(lambda: ear.heard(seconds=0.1)) == 1
    ear.close()
