"""The engine's settings: `OUTBOX = {...}` in Django's settings, with these defaults."""

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from outbox.topics import Topic


@dataclass(frozen=True, slots=True)
class Config:
    """Seconds and bytes, unless a name says otherwise.

    kafka            librdkafka options of every client: bootstrap.servers, and SASL or TLS where used
    topics           dotted path of the sequence of Topics that the project declares
    source           the prefix of the CloudEvents `source`; an event type's first word follows it
    owner_of         dotted path of a function of a user: whose events the API shows it, None for everyone's
    may_operate      dotted path of a function of a user: whether it may act on events and consumers
    idempotent       dotted path of a decorator for the views' commands, of which one may be sent twice
    commands         names of the project's own commands that it writes down as acts: the audit log's filter
    max_event_bytes  key, headers and value together; the broker's message.max.bytes is a little more
    relay_page       events the relay sends per flush, at most
    relay_page_bytes their payloads together, about
    relay_poll       how long an idle relay sleeps at most; wake-ups make it shorter
    lease            for how long a relay that went silent keeps others waiting; about the same for all relays
    consumer_batch   records per transaction of a consumer, at most
    batch_seconds    after which a transaction of a consumer begins no further event: the next one does
    unknown_retries  how often an event is tried again after an error nobody declared
    handler_limit    how long a call of a handler may take that declares no limit of its own
    failing_keys     so many keys that fail with one fingerprint within `failing_within`, or so many events in
                     a row, pause their consumer
    gap_alarm        for how long the events of a key may be waited for before that is alarming
    alerts           who is told of alarms, and when: see outbox/alerts/options.py
    periodic_tasks   whether outbox.sample_lag is scheduled: then it is missed, too, when it has never run
    metrics_address  host:port at which a relay or consumer tells its metrics; instances take the next ports
    tracing          whether spans are made, with the OpenTelemetry provider that the project has set
    """

    kafka: dict[str, str] = field(default_factory=lambda: {"bootstrap.servers": "localhost:9092"})
    topics: str = ""
    source: str = "/outbox"
    owner_of: str = "outbox.selectors.own_unless_staff"
    may_operate: str = "outbox.selectors.staff_may_operate"
    idempotent: str = ""
    commands: tuple[str, ...] = ()
    max_event_bytes: int = 1_000_000
    relay_page: int = 5_000
    relay_page_bytes: int = 8_000_000
    relay_poll: float = 0.25
    lease: float = 5.0
    consumer_batch: int = 500
    batch_seconds: float = 30.0
    unknown_retries: int = 3
    handler_limit: float = 60.0
    failing_keys: int = 20
    failing_within: float = 60.0
    gap_alarm: float = 60.0
    alerts: dict[str, Any] = field(default_factory=dict, repr=False)
    periodic_tasks: bool = False
    metrics_address: str = ""
    tracing: bool = False

    def source_of(self, using: str) -> str:
        """How `source` begins for events of a database: other than `default` it has its alias behind it."""
        return self.source if using == DEFAULT_DB_ALIAS else f"{self.source}.{using}"

    def declared_topics(self) -> tuple[Topic, ...]:
        """The Topics behind the dotted path."""
        if not self.topics:
            raise ImproperlyConfigured("OUTBOX['TOPICS'] must be the dotted path of your sequence of Topics.")
        declared: tuple[Topic, ...] = tuple(import_string(self.topics))
        return declared


@cache
def config() -> Config:
    """The project's settings. Raises ImproperlyConfigured for a name that does not exist."""
    given: dict[str, Any] = getattr(settings, "OUTBOX", {})
    known = {option.name for option in fields(Config)}
    unknown = sorted(name for name in given if name.lower() not in known)
    if unknown:
        raise ImproperlyConfigured(f"OUTBOX has no setting {', '.join(unknown)}; there are {sorted(known)}.")
    return Config(**{name.lower(): value for name, value in given.items()})
