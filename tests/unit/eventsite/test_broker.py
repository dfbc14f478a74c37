"""Celery's broker, derived from the database's address."""

from typing import Any

import environ
import pytest

from eventsite import broker


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ("postgresql://u:p@h:5433/d", "pgmq://u:p@h:5433/d"),
        ("postgres://u:p%40%2F%3A@h/d%20e", "pgmq://u:p%40%2F%3A@h/d%20e"),
        ("postgresql://localhost/eventsite", "pgmq://localhost/eventsite"),
    ],
)
def test_the_broker_is_the_database(database: str, expected: str) -> None:
    assert broker.url_over_database(environ.Env.db_url_config(database)) == expected


def test_a_broker_over_postgresql_is_the_url_s_and_never_the_environment_s() -> None:
    options: dict[str, Any] = broker.transport_options("pgmq://u:p@h:5433/d", visibility_timeout=7)
    assert options["conn_string"] == "postgresql://u:p@h:5433/d"
    assert options["visibility_timeout"] == 7


def test_another_broker_takes_none_of_these_options() -> None:
    assert broker.transport_options("redis://localhost:6379/0", visibility_timeout=7) == {}
