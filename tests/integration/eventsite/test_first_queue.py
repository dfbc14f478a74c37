"""The queue of worker and beat is there before either starts: they may start at one moment."""

import pytest
from django.db import connection
from kombu import Connection, Queue

from eventsite.broker import transport_options, url_over_database
from eventsite.celery import app
from tests.integration.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_worker_and_beat_make_the_queue_at_one_moment() -> None:
    url = url_over_database(connection.settings_dict)
    options = transport_options(url, visibility_timeout=60)

    def declare() -> None:
        with Connection(url, transport_options=options) as client:
            Queue(app.conf.task_default_queue)(client.default_channel).declare()

    assert at_once(*[declare] * 2) == [None] * 2
