"""What is written on the wire is what is read from it."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from outbox.envelope import cloudevent_headers, key_text, read_envelope
from outbox.ids import new_id
from outbox.kafka import Record

NOW = datetime(2026, 11, 24, tzinfo=UTC)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2026, 11, 24), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    texts, texts, moments, st.none() | st.integers(1, 2**63 - 1), st.uuids(), st.none() | st.uuids(version=4)
)
def test_an_envelope_survives_the_wire(
    source: str, kind: str, moment: datetime, number: int | None, correlation: UUID, cause: UUID | None
) -> None:
    event_id = new_id(moment)
    headers = cloudevent_headers(
        id=event_id,
        source=source,
        type=kind,
        occurred_at=moment,
        key="k",
        number=number,
        correlation_id=correlation,
        causation_id=cause,
        traceparent=None,
        content_type="application/json",
    )
    read = read_envelope(Record("t", 0, 0, b"k", b"{}", headers, None), now=NOW)
    assert (read.inbox_id, read.source, read.type, read.occurred_at) == (event_id, source, kind, moment)
    assert (read.number, read.correlation_id, read.causation_id) == (number, correlation, cause)


def test_the_sequence_sorts_as_text() -> None:
    headers = [
        dict(
            cloudevent_headers(
                id=UUID(int=1),
                source="s",
                type="t",
                occurred_at=NOW,
                key="k",
                number=number,
                correlation_id=UUID(int=1),
                causation_id=None,
                traceparent=None,
                content_type="application/json",
            )
        )["ce_sequence"]
        for number in (2, 10, 2**63 - 1)
    ]
    assert headers == sorted(header for header in headers if header)
    assert all(len(header or b"") == 19 for header in headers)


@given(st.none() | st.binary())
def test_any_key_becomes_text_that_postgresql_can_hold(raw: bytes | None) -> None:
    text = key_text(raw)
    assert (text is None) == (raw is None)
    assert "\x00" not in (text or "")
    (text or "").encode()
