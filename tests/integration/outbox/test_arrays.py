"""Arrays that the inbox hands to PostgreSQL as text come out as they went in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase

from outbox.inbox import array

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


def _read(values: Sequence[object], kind: str) -> object:
    with connection.cursor() as sql:
        sql.execute(f"SELECT %s::{kind}[]", [array(values)])
        return sql.fetchone()[0]
