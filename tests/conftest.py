"""What every test may use."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from outbox import clock, wake
from outbox.config import config
from outbox.waiting import watcher


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Some threads hold a connection for a while; the test database is dropped without them."""
    yield
    wake.stop()
    watcher.close()
    watcher.join()


@pytest.fixture
def engine(settings: Settings) -> Iterator[None]:
    """The engine with the tests' own topics instead of the project's."""
    settings.OUTBOX = {**settings.OUTBOX, "TOPICS": "tests.engine.TOPICS"}
    config.cache_clear()
    yield
    config.cache_clear()


@pytest.fixture(autouse=True)
def _fresh_clock() -> Iterator[None]:
    """No test inherits another's reading of the database's clock."""
    yield
    clock.forget()
