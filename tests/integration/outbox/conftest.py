"""What tests of consumers have in common."""

from collections.abc import Iterator

import pytest

from outbox import registry
from tests.engine import new_topic
from tests.integration.outbox.listeners import Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    before = dict(registry._consumers)
    yield Listener(new_topic(partitions=2))
    registry._consumers.clear()
    registry._consumers.update(before)
