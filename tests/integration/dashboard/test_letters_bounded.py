"""What the page of dead letters reads does not grow with what there is, whatever is asked; and it says so."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import User
from dashboard.letters import groups, walks
from dashboard.letters.filters import Asked
from dashboard.letters.groups import groups_of
from dashboard.letters.selectors import page_of
from outbox.models import DeadLetter
from tests.integration.dashboard.conftest import browser_of
from tests.integration.plans import reading

MANY, LOOK_AT, FEW, GROUPED = 20_000, 400, 40, 100
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
# The consumers' letters alternate. Of two filters that fit many each, none may fit both: LateEvents are of
# orders alone, and merged ones of loyalty.
_PLANT = """
INSERT INTO outbox_dead_letter (id, consumer, generation, event_id, topic, partition, "offset", headers, type,
    key, cause, error, traceback, fingerprint, attempts, died_at, state, settled_at)
SELECT gen_random_uuid(), consumer, 1, gen_random_uuid(), 'payments', 0, n, '[]',
    CASE WHEN n %% 1000 = 1 THEN 'rare' WHEN n %% 200 = 2 THEN 'seldom' WHEN n %% 4 = 0 THEN 'merged'
        ELSE 'plain' END,
    CASE WHEN n %% 3 = 0 THEN 'hot' WHEN n %% 5 = 0 THEN NULL ELSE 'key-' || n END,
    CASE WHEN consumer = 'orders' AND n %% 10 = 1 THEN 'LateEvent' ELSE 'KeyError' END,
    'it is so', '', CASE WHEN n %% 7 = 0 THEN 'aa' ELSE 'bb' END, 1,
    %(began)s + make_interval(secs => n), state,
    CASE WHEN state <> 'open' THEN %(began)s + interval '1 day' END
FROM (
    SELECT n, CASE WHEN n %% 2 = 0 THEN 'loyalty' ELSE 'orders' END AS consumer,
        CASE WHEN n %% 11 = 0 THEN 'discarded' ELSE 'open' END AS state
    FROM generate_series(1, %(many)s) AS n
) AS letter
"""


@pytest.fixture
def planted(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many letters, of which the page may look at few."""
    monkeypatch.setattr(walks, "LOOK_AT", LOOK_AT)
    monkeypatch.setattr(walks, "FEW", FEW)
    monkeypatch.setattr(groups, "GROUPED", GROUPED)
    with connection.cursor() as sql:
        sql.execute(_PLANT, {"began": BEGAN, "many": MANY})


def every_filter() -> Iterator[Asked]:
    """Each way in which filters can be combined, of what fits many, few and none."""
    values = {
        "consumer": (None, "orders", "analytics"),
        "cause": (None, "LateEvent"),
        "type": (None, "merged", "seldom", "rare", "unheard of"),
        "key": (None, "hot", "key-1"),
        "fingerprint": (None, "aa"),
        "since": (None, (BEGAN + timedelta(seconds=MANY // 4)).isoformat()),
        "until": (None, (BEGAN + timedelta(seconds=MANY // 2)).isoformat()),
        "state": (None, "discarded"),
    }
    for chosen in product(*values.values()):
        pairs = tuple((name, value) for name, value in zip(values, chosen, strict=True) if value is not None)
        yield Asked(pairs)


@pytest.mark.parametrize("statistics", ["none", "fresh", "of before"])
def test_no_filter_reads_more_than_it_may(planted: None, statistics: str) -> None:
    if statistics != "none":
        with connection.cursor() as sql:
            if statistics == "of before":
                sql.execute("UPDATE outbox_dead_letter SET consumer = 'loyalty', type = 'plain', key = NULL")
            sql.execute("ANALYZE outbox_dead_letter")
            if statistics == "of before":
                sql.execute("TRUNCATE outbox_dead_letter")
                sql.execute(_PLANT, {"began": BEGAN, "many": MANY})
    for asked in list(every_filter())[:: 1 if statistics == "fresh" else 7]:
        with reading("outbox_dead_letter") as read:
            page, found = page_of(asked), groups_of(asked)
        most, plan = max(read)
        assert most <= 10 * LOOK_AT, (asked, plan)
        fits = list(DeadLetter.objects.filter(**asked.columns()).order_by("-died_at", "-id")[:51])
        told = [letter.id for letter in page.letters]
        if page.until is None:
            assert told == [letter.id for letter in fits[:50]], asked
            assert (page.older is not None) == (len(fits) > 50), asked
        else:
            assert told == [letter.id for letter in fits if letter.died_at >= page.until][: len(told)], asked
        assert found.stopped or bool(found.groups) == bool(fits), asked


def test_what_few_fit_is_found_whole_however_old_it_is(planted: None) -> None:
    for pairs in (
        (("type", "rare"), ("consumer", "orders")),
        (("key", "key-1"), ("cause", "LateEvent")),
        (
            ("consumer", "orders"),
            ("cause", "LateEvent"),
            ("until", (BEGAN + timedelta(seconds=60)).isoformat()),
        ),
    ):
        asked = Asked(pairs)
        found = page_of(asked)
        assert found.until is None
        assert len(found.letters) == DeadLetter.objects.filter(**asked.columns()).count() > 0
        assert not groups_of(asked).stopped


def test_a_page_that_gave_up_says_so_and_leads_on_to_all_that_fit(viewer: User, planted: None) -> None:
    asked = Asked((("consumer", "loyalty"), ("type", "seldom")))
    fits = list(DeadLetter.objects.filter(**asked.columns()).order_by("-died_at", "-id"))
    found = page_of(asked)
    told = [letter.id for letter in found.letters]
    assert found.until is not None
    while found.older is not None:
        found = page_of(asked, before=found.older)
        told += [letter.id for letter in found.letters]
    assert told == [letter.id for letter in fits]
    back: list[UUID] = []
    while found.newer is not None:
        found = page_of(asked, after=found.newer)
        back = [letter.id for letter in found.letters] + back
    assert back == told[: len(back)]
    assert len(back) >= len(told) - 50

    desk = browser_of(viewer)
    page = desk.get(f"{reverse('letters')}{asked.address()}").content.decode()
    assert "Look further back" in page
    assert "that fit among the latest" in page
    nothing = Asked((("consumer", "orders"), ("type", "merged")))
    page = desk.get(f"{reverse('letters')}{nothing.address()}").content.decode()
    assert "None so far" in page
    assert "none among the latest" in page
    assert "No dead letter is like that" not in page
