"""librdkafka says the same at each try of a broker that is away: the log has it once a minute."""

import logging
from types import SimpleNamespace

import pytest

from outbox.kafka import base


def entry(text: str, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("outbox.librdkafka", level, "", 0, text, None, None)


def test_what_differs_in_numbers_alone_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: now))
    seldom = base._Seldom()
    assert seldom.filter(entry("127.0.0.1:9092: Connect failed (after 0ms)"))
    assert not seldom.filter(entry("127.0.0.1:9092: Connect failed (after 17ms)"))
    assert seldom.filter(entry("127.0.0.1:9092: Disconnected"))
    now += base.SELDOM
    assert seldom.filter(entry("127.0.0.1:9092: Connect failed (after 5ms)"))


def test_what_is_critical_is_always_said() -> None:
    seldom = base._Seldom()
    assert all(seldom.filter(entry("Fatal error 7", logging.CRITICAL)) for _ in range(3))
