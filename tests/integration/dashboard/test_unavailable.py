"""Pages that cannot be made just now: a 503 that says what to do, no failure of the program."""

from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.services import ensure_user
from devstack.stack import Stack
from tests.integration.dashboard.conftest import browser_of
from tests.integration.eventsite.test_turns import locked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(db: None) -> Client:
    return browser_of(ensure_user(username="root", password=None, is_staff=True, is_superuser=True))


def unavailable(desk: Client, address: str) -> str:
    answer = desk.get(address)
    assert answer.status_code == 503
    assert answer["Retry-After"]
    return answer.content.decode()


@pytest.mark.parametrize("address", ["/letters/", "/admin/outbox/deadletter/"])
def test_a_page_that_takes_the_database_too_long_is_given_up(
    desk: Client, stack: Stack, address: str
) -> None:
    address = reverse("letters") if address == "/letters/" else address
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '1s'")
    try:
        with locked(stack, "LOCK TABLE outbox_dead_letter IN ACCESS EXCLUSIVE MODE"):
            assert "This takes the database too long" in unavailable(desk, address)
    finally:
        connection.close()
    assert desk.get(address).status_code == 200


def test_an_act_that_is_given_up_leads_back_to_where_it_was_asked_for(desk: Client, stack: Stack) -> None:
    address = reverse("letters-selected")
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '1s'")
    try:
        with locked(stack, "LOCK TABLE outbox_dead_letter IN ACCESS EXCLUSIVE MODE"):
            for before, back in (
                ("http://localhost/dead-letters/?key=a", "http://localhost/dead-letters/?key=a"),
                ("http://elsewhere.example/", "/"),
            ):
                asked = {"act": "replay", "letter": str(UUID(int=7))}
                answer = desk.post(address, asked, headers={"referer": before})
                assert answer.status_code == 503
                page = answer.content.decode()
                assert "Whether it was done is not known" in page
                assert f'href="{back}"' in page
    finally:
        connection.close()


def test_without_the_database_a_page_says_so(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as changed:
        changed.setitem(connection.settings_dict, "PORT", "9")
        assert "The database does not answer" in unavailable(desk, "/")
    connection.close()
    assert desk.get("/").status_code == 200
