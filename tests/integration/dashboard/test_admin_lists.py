"""Every list of the admin is quick at any size: nothing counted, nothing skipped through, all by index."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from accounts.services import ensure_token, ensure_user
from outbox.keyset import KeysetLists
from outbox.repair.acts import Act
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.poisoned import poison

ADMINS = sorted(admin.site._registry.values(), key=lambda one: one.model._meta.label)
# Tables that stay small, whatever is done.
SMALL = {"django_content_type", "auth_permission", "auth_group", "outbox_topic", "outbox_shard"}
NO_OTHER_WAY = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"


@pytest.fixture
def root(db: None) -> User:
    return ensure_user(username="root", password=None, is_staff=True, is_superuser=True)


def test_whatever_can_be_added_has_a_form_and_a_user_can_sign_in_afterwards(root: User) -> None:
    client, request = browser_of(root), RequestFactory().get("/")
    request.user = root
    for one in ADMINS:
        if one.has_add_permission(request):
            page = client.get(reverse(f"admin:{one.opts.app_label}_{one.opts.model_name}_add"))
            assert re.search(r'<(input|select|textarea)[^>]* id="id_', page.content.decode()), one
    words = {"password1": "pass-word-17", "password2": "pass-word-17", "usable_password": "true"}
    asked = {"username": "anna", **words}
    assert client.post(reverse("admin:accounts_user_add"), asked).status_code == 302
    assert Client().login(username="anna", password="pass-word-17")


@pytest.fixture
def rows(first: User, second: User, root: User) -> None:
    """A few rows in most lists."""
    for user in (first, second):
        ensure_token(user=user)
        for number in range(2):
            letter = poison(user.id, waits=2 - number)
            Act.objects.create(
                who="anna", via="rest", act="replay", why="", consumer="orders", letter_id=letter.id,
                topic="payments", result="died", error="", ran=0, waiting=0,
            )  # fmt: skip
    with connection.cursor() as sql:
        sql.execute(
            'INSERT INTO outbox_publication (event_id, partition, "offset")'
            " SELECT id, 0, position FROM outbox_event"
        )


def address(one: Any) -> str:
    return reverse(f"admin:{one.model._meta.app_label}_{one.model._meta.model_name}_changelist")


def asked_by(browser: Client, path: str) -> tuple[str, list[str]]:
    """The page, and the statements that it took of tables that may be large."""
    with CaptureQueriesContext(connection) as captured:
        answer = browser.get(path)
    assert answer.status_code == 200, path
    statements = [query["sql"] for query in captured.captured_queries]
    reads = [sql for sql in statements if sql.startswith("SELECT") and " FROM " in sql]
    return answer.content.decode(), [
        sql for sql in reads if not SMALL & set(re.findall(r'FROM "(\w+)"', sql))
    ]


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        return "\n".join(line for (line,) in cursor.fetchall())


def assert_quick(statements: list[str], *, few: bool = False) -> None:
    """`few`: they are about one value, and what is found of it may be sorted."""
    with connection.cursor() as cursor:
        cursor.execute(NO_OTHER_WAY)
    for sql in statements:
        assert "COUNT(" not in sql, sql
        assert "OFFSET" not in sql, sql
        assert "DISTINCT" not in sql, sql
        plan = plan_of(sql)
        # Where there is another way, the planner takes it: what is left has no index.
        assert "Seq Scan" not in plan, f"{sql}\n{plan}"
        assert few or not re.search(r"(?<!Incremental )Sort  \(", plan), f"{sql}\n{plan}"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on")


@pytest.mark.parametrize("one", ADMINS, ids=lambda one: one.model._meta.label)
def test_a_list_counts_nothing_skips_nothing_and_is_read_by_index(
    root: User, rows: None, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(one, KeysetLists)
    monkeypatch.setattr(type(one), "list_per_page", 1)
    browser, path = browser_of(root), address(one)
    request = RequestFactory().get(path)
    request.user = root
    wanted = [str(row.pk) for row in one.get_changelist_instance(request).queryset]
    seen, at = set(), path
    while True:
        page, statements = asked_by(browser, at)
        assert_quick(statements)
        seen.add(at)
        onward = re.findall(r'href="(\?[^"]*)" rel="next"', page)
        if not onward:
            break
        at = path + onward[0].replace("&amp;", "&")
        assert at not in seen
    assert len(seen) == max(1, len(wanted))
    if len(wanted) > 1:
        backward = re.findall(r'href="(\?[^"]*)" rel="prev"', page)
        page, statements = asked_by(browser, path + backward[0].replace("&amp;", "&"))
        assert_quick(statements)
        assert ('rel="next"' in page, 'rel="prev"' in page) == (True, len(wanted) > 2)


@pytest.mark.parametrize("one", ADMINS, ids=lambda one: one.model._meta.label)
def test_its_filters_and_its_search_are_by_index(root: User, rows: None, one: Any) -> None:
    browser, path = browser_of(root), address(one)
    request = RequestFactory().get(path)
    request.user = root
    changelist = one.get_changelist_instance(request)
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            if "query_string" in choice:
                assert_quick(asked_by(browser, path + choice["query_string"])[1])
    columns = [one.model._meta.get_field(name).column for name in one.found_by]
    assert set(columns) <= set(leading_columns(one.model._meta.db_table))
    for wanted in (str(uuid4()), "nobody", "a'b"):
        assert_quick(asked_by(browser, f"{path}?q={wanted}")[1], few=True)
    for nonsense in ("x", "[]", "[1,2,3,4,5,6,7]", '["\\u0000"]', "null"):
        answer = browser.get(path, {"beyond": nonsense})
        assert answer.status_code in {200, 302}, nonsense


def leading_columns(table: str) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
            " WHERE indrelid = %s::regclass",
            [table],
        )
        yield from (name for (name,) in cursor.fetchall())
