"""Constraints that PostgreSQL checks at the commit, as Django's foreign keys are: whose fault is it then?"""

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection

from outbox import Delivery
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.registry import Route
from outbox.repair import jobs, letters, working
from outbox.repair.acts import Operator, Result
from outbox.repair.matching import Selection
from tests.engine import Noted
from tests.integration.outbox import test_processor as processing
from tests.integration.outbox.test_processor import Refused, Service, notes
from tests.integration.outbox.test_replaying import deliver

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ANNA = Operator("anna", "it was the deploy")


@pytest.fixture
def service() -> Iterator[Service]:
    """Its event "owes" has a row refer to one that is not there; "pays" to one that comes later."""
    with connection.cursor() as sql:
        sql.execute(
            "CREATE TABLE owed (id int PRIMARY KEY, debtor int REFERENCES owed DEFERRABLE INITIALLY DEFERRED)"
        )
    made = processing.service.__wrapped__()  # type: ignore[attr-defined]
    service: Service = next(made)
    handle = service.handle

    def owing(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        with connection.cursor() as sql:
            if delivery.event.text == "owes":
                sql.execute("INSERT INTO owed VALUES (1, 404)")
            if delivery.event.text == "pays":
                sql.execute("INSERT INTO owed VALUES (2, 3)")
                sql.execute("INSERT INTO owed VALUES (3, NULL)")

    service.consumer.routes[Noted.type] = Route(Noted, owing)
    yield service
    next(made, None)
    with connection.cursor() as sql:
        sql.execute("DROP TABLE owed")


def test_of_what_a_gap_releases_the_guilty_one_is_blamed(service: Service) -> None:
    one, two, *waiting = notes("a", "1", "2", "pays", "owes", "5")
    deliver(service, one, *waiting)
    with pytest.raises(IntegrityError) as caught:
        service.run(two)
    service.processor.condemn(caught.value, attempts=1)
    service.run(two)
    assert service.heard() == ["1", "2", "pays"]
    assert service.outcomes() == {"processed": 3, "dead": 1, "parked": 1}
    assert DeadLetter.objects.get().number == 4


def _die(service: Service) -> DeadLetter:
    """A letter of each key, one of which owes once what it died of is mended."""
    for key, text in (("a", "owes"), ("b", "pays")):
        service.fails[text] = Refused("no")
        deliver(service, *notes(key, text))
    service.fails.clear()
    return DeadLetter.objects.get(key="a")


def test_a_dry_run_says_that_it_would_die(service: Service) -> None:
    report = letters.replay(letter_id=_die(service).id, operator=ANNA, dry_run=True)
    assert report.result is Result.DIED
    assert "IntegrityError" in report.error


def test_a_job_goes_on_with_the_next_one(service: Service) -> None:
    letter = _die(service)
    job = jobs.begin(act="replay", selection=Selection(everything=True), operator=ANNA)
    working.work()
    job.refresh_from_db()
    assert (job.state, job.results, job.trouble) == ("done", {"died": 1, "replayed": 1}, "")
    letter.refresh_from_db()
    assert (letter.state, letter.cause) == (LetterState.OPEN, "IntegrityError")
    assert ParkedKey.objects.get().key == "a"
