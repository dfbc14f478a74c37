"""A short, repeatable run of what `make fuzz` does for minutes: every operation, with all checks."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connections

from accounts.models import User
from accounts.services import ensure_token, ensure_user
from contracts.money import Money
from devstack.stack import Stack
from outbox import clock
from payments.services import request_payment, validate_payment
from tests.fuzz import schemathesis
from tests.integration.settling import settle
from tests.webserver import WebServer


def pay(merchant: User) -> None:
    """Rows behind every list: a pending payment, and a validated one with its order and points."""
    for validated in (False, True):
        payment, _ = request_payment(
            merchant_id=merchant.id, customer_id="c-1024", money=Money(1250, "EUR"), at=clock.now()
        )
        if validated:
            validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=clock.now())
    settle()


@contextmanager
def settling() -> Iterator[None]:
    """What is published meanwhile is processed, so that nobody waits for it for long."""
    stop = threading.Event()

    def run() -> None:
        try:
            while not stop.wait(0.5):
                settle()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(run)
        try:
            yield
        finally:
            stop.set()
            done.result()


@pytest.mark.django_db(transaction=True)
def test_schemathesis_finds_nothing(stack: Stack, tmp_path: Path) -> None:
    merchant = ensure_user(username="merchant", password=None, groups=["merchant"])
    operator = ensure_user(username="operator", password=None, groups=["operator"])
    pay(merchant)
    with WebServer(stack, tmp_path) as server, settling():
        for user, phases in ((merchant, "examples,coverage"), (operator, "examples,fuzzing")):
            done = schemathesis(
                server.url,
                ensure_token(user=user),
                *["--seed=1", "--generation-deterministic", "--max-examples=3", f"--phases={phases}"],
            )
            assert done.returncode == 0, done.stdout + done.stderr
            tested = re.search(r"Tested: +(\d+)", done.stdout)
            selected = re.search(r"Selected: +(\d+)/(\d+)", done.stdout)
            assert tested is not None, done.stdout
            assert selected is not None, done.stdout
            assert selected[1] == selected[2]
            assert int(tested[1]) == int(selected[1]) > 15
        assert "Traceback" not in server.log()
