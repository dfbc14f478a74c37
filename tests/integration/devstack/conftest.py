"""Stacks of these tests' own, beside the one the other tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.integration.devstack.ledger import JARS


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack in an empty folder, whose name is as awkward as some people's; not started."""
    stack = Stack(tmp_path / "État, 1 %s", jars=JARS, environ={})
    yield stack
    stack.stop()
