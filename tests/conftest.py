"""What every test may use."""

from collections.abc import Iterator

import pytest

from outbox import wake


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Wake-up threads hold a connection for a while; the test database is dropped without them."""
    yield
    wake.stop()
