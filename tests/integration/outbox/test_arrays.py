"""Arrays that the inbox hands to PostgreSQL as text come out as they went in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from outbox.inserting import array, insert
from outbox.models import WaitingEvent

# PostgreSQL's text holds no NUL and no half of a pair; keys and headers are escaped or refused before.
texts = st.lists(st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))


class Arrays(TransactionTestCase):
    """On a real PostgreSQL."""

    @settings(deadline=None, max_examples=50)
    @given(texts)
    def test_whatever_text(self, values: list[str | None]) -> None:
        assert _read(values, "text") == values


@pytest.mark.django_db
def test_whatever_else_a_claim_holds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    for values, kind in (
        ([UUID(int=7)], "uuid"),
        ([1, None, -(2**63)], "bigint"),
        ([moment], "timestamptz"),
        (["NULL", "null", "", " ", "{}", '"', "\\", ","], "text"),
    ):
        assert _read(list(values), kind) == values


@pytest.mark.django_db
def test_rows_come_out_as_they_went_in() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    odd = 'a"b\\c{,}\n\x01NULL'
    given: list[dict[str, Any]] = [
        {"headers": [[odd, None]], "payload": bytes(range(256)), "raw_key": b"", "number": None, "key": odd},
        {"headers": [], "payload": None, "raw_key": None, "timestamp": moment, "number": 7, "key": "NULL"},
    ]
    same = {"consumer": "c", "generation": 1, "topic": "t", "partition": 0, "offset": 2**62, "type": ""}
    same |= {"received_at": moment}
    for number, one in enumerate(given):
        one["event_id"] = UUID(int=number)
    insert([WaitingEvent(**same, **one) for one in given], using="default")
    for row, one in zip(WaitingEvent.objects.order_by("id"), given, strict=True):
        for name, value in (same | one).items():
            stored = getattr(row, name)
            assert (bytes(stored) if isinstance(stored, memoryview) else stored) == value


def _read(values: Sequence[object], kind: str) -> object:
    with connection.cursor() as sql:
        sql.execute(f"SELECT %s::{kind}[]", [array(values)])
        return sql.fetchone()[0]
