"""What every test may use."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management.commands import flush
from django.db import connections
from hypothesis import settings as hypothesis
from pytest_django import DjangoDbBlocker, Settings

from outbox import clock, wake
from outbox.config import config
from outbox.partitions import make_partitions
from outbox.waiting import watcher

# How long an example takes says something about the machine.
hypothesis.register_profile("no deadline", deadline=None)
hypothesis.load_profile("no deadline")

# What migrate fills: Django would make most of it anew after each flush, in a fifth of a second.
KEPT = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions", "outbox_shard")


def emptying(*_: Any, **__: Any) -> list[str]:
    """What a flush executes: DELETE is a third of the work of TRUNCATE where there are few rows or none.

    As on a replica, no reference and no trigger is in the way.
    """
    tables = connections["default"].introspection.django_table_names(only_existing=True, include_views=False)
    return [
        "SET LOCAL session_replication_role = replica",
        "".join(f"DELETE FROM {name};" for name in tables),
        "SET LOCAL session_replication_role = origin",
    ]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Some threads hold a connection for a while; the test database is dropped without them.

    Between two tests it is put back from a copy.
    """
    copy = "".join(f"CREATE UNLOGGED TABLE kept.{name} AS TABLE {name};" for name in KEPT)
    restore = "".join(f"INSERT INTO {name} SELECT * FROM kept.{name};" for name in KEPT)

    def put_back(verbosity: int, interactive: bool, db: str, **_: Any) -> None:
        with connections[db].cursor() as cursor:
            cursor.execute(restore)
        make_partitions(using=db)

    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA kept; {copy}")
        cursor.execute("DELETE FROM outbox_alarm_watch")  # as after each flush: it begins with the first look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flush, "sql_flush", emptying)
        patch.setattr(flush, "emit_post_migrate_signal", put_back)
        yield
    wake.stop()
    watcher.close()
    watcher.join()


@pytest.fixture(autouse=True, scope="session")
def _quick_passwords() -> Iterator[None]:
    """Hashed as ever, but in a few rounds: a million take a third of a second for each password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 100)
        yield


@pytest.fixture
def engine(settings: Settings) -> Iterator[None]:
    """The engine with the tests' own topics instead of the project's, and without tasks to be missed."""
    settings.OUTBOX = {**settings.OUTBOX, "TOPICS": "tests.engine.TOPICS", "PERIODIC_TASKS": False}
    config.cache_clear()
    yield
    config.cache_clear()


@pytest.fixture(autouse=True)
def _fresh_clock() -> Iterator[None]:
    """No test inherits another's reading of the database's clock."""
    yield
    clock.forget()
