"""Which letters are meant by an act on many, and going from each to the next."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from outbox.models import DeadLetter
from outbox.repair.matching import Selection
from tests.integration.plans import reading

MANY = 1_500
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
_PLANT = """
INSERT INTO outbox_dead_letter (id, consumer, generation, event_id, topic, partition, "offset", headers, type,
    cause, error, traceback, fingerprint, attempts, died_at)
SELECT gen_random_uuid(), CASE WHEN n %% 2 = 0 THEN 'orders' ELSE 'loyalty' END, 1, gen_random_uuid(),
    'payments', 0, n, '[]', CASE WHEN n %% 10 = 0 THEN 'wanted' ELSE 'other' END,
    CASE WHEN n %% 4 = 0 THEN 'KeyError' ELSE 'LateEvent' END, '', '',
    CASE WHEN n %% 15 = 0 THEN 'KeyError' ELSE 'aa' END, 1, %(began)s + make_interval(secs => n / 3)
FROM generate_series(1, %(many)s) AS n
"""


@pytest.mark.parametrize(
    "selection",
    [
        Selection(everything=True),
        Selection(type="wanted"),
        Selection(type="wanted", consumer="orders"),
        Selection(cause="KeyError"),
        Selection(cause="KeyError", consumer="orders", topic="payments"),
        Selection(cause="KeyError", consumer="loyalty", type="wanted"),
        Selection(fingerprint="aa", type="wanted", since=BEGAN),
    ],
)
def test_going_from_letter_to_letter_reads_each_but_a_few_times(db: None, selection: Selection) -> None:
    """Also with statistics of before there were any like these, by which whatever fits is rare."""
    with connection.cursor() as sql:
        sql.execute(_PLANT, {"began": BEGAN, "many": MANY})
        sql.execute(
            "UPDATE outbox_dead_letter SET consumer = 'c', type = 't', cause = 'e', fingerprint = 'f'"
        )
        sql.execute("ANALYZE outbox_dead_letter")
        sql.execute("TRUNCATE outbox_dead_letter")
        sql.execute(_PLANT, {"began": BEGAN, "many": MANY})
    wanted = list(selection.letters().values_list("id", flat=True))
    found: list[DeadLetter] = []
    with reading("outbox_dead_letter") as read:
        while len(found) <= len(wanted):
            after = (found[-1].died_at, found[-1].id) if found else None
            letter = selection.first(after=after, using="default")
            if letter is None:
                break
            found.append(letter)
    assert [letter.id for letter in found] == wanted
    assert sum(rows for rows, _ in read) <= 4 * MANY, max(read)[1]


def test_what_is_asked_after_a_walk_is_planned_as_before(db: None) -> None:
    def plan() -> list[str]:
        with connection.cursor() as sql:
            sql.execute("SELECT name || setting FROM pg_settings WHERE name ~ '^enable_|^jit$' ORDER BY 1")
            return [row for (row,) in sql.fetchall()]

    before = plan()
    Selection(consumer="orders").first(using="default")
    assert plan() == before
