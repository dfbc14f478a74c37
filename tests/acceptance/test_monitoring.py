"""Monitoring by real processes: one trace through all of them, their metrics, their logs, and deploy/."""

import json
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest
from celery import Celery
from celery.signals import before_task_publish

from demo.accounts import Accounts
from devstack.ports import HOST, find_port
from eventsite import broker
from outbox.context import caused_by
from outbox.envelope import cloudevent_headers
from outbox.ids import new_id
from outbox.kafka import RecordProducer
from tests.acceptance.receiver import Received, Receiver
from tests.acceptance.relays import Relays, running_relays
from tests.engine import NOW, flush, until
from tests.monitoring import OWN_LABELS, OWN_METRICS, asked, expressions
from tests.scraped import families, figure, figures, scrape

TRACE = "0af7651916cd43dd8448eb211c80319c"
POISONED_TRACE = "1bf7651916cd43dd8448eb211c80319d"
VALIDATED, CREATED = "payments.PaymentValidated.v1", "orders.OrderCreated.v1"


class Site:
    """A web process, a relay, instances of consumers and a Celery worker, all traced and scraped."""

    def __init__(self, relays: Relays, receiver: Receiver) -> None:
        self.relays, self.receiver = relays, receiver
        self.ports: dict[str, int] = {}
        relays.manage("prepare_demo", str(relays.stack.folder))
        self.token = Accounts.read(relays.stack.folder).merchants[0].token
        port = find_port()
        self.url = f"http://{HOST}:{port}"
        relays.start("web", "-m", "uvicorn", "eventsite.asgi:application", f"--host={HOST}", f"--port={port}")
        self.start("relay", "manage.py", "run_relay")
        self.start("orders", "manage.py", "run_consumer", "orders", "--instances=2")
        celery = ("-m", "celery", "--app", "eventsite", "worker", "--pool=threads", "--hostname=worker@test")
        self.start("worker", *celery, "--without-gossip", "--without-mingle", "--concurrency=1")
        until(self._answers, seconds=60)

    def start(self, name: str, *command: str) -> None:
        """A process that tells its metrics at a port of its own, and the next ones."""
        self.ports[name] = port = find_port()
        self.relays.start(name, *command, METRICS_ADDRESS=f"{HOST}:{port}")

    def page(self, name: str, *, instance: int = 0) -> str:
        url = self.url if name == "web" else f"http://{HOST}:{self.ports[name] + instance}"
        return until(lambda: _page(f"{url}/metrics"), seconds=60)

    def post(self, path: str, body: object, **headers: str) -> dict[str, str]:
        headers["Authorization"] = f"Token {self.token}"
        answer = httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        content: dict[str, str] = answer.json()
        return content

    def pay(self, *, trace: str) -> str:
        """A validated payment, whose validation is part of a trace."""
        customer = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}
        payment = self.post("/api/payments/", customer)["id"]
        self.post(f"/api/payments/{payment}/validate/", {}, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
        return payment

    def log(self) -> str:
        return (self.relays.stack.folder / "relays.log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz").is_success
        except httpx.TransportError:
            return False


def _page(url: str) -> str:
    try:
        return scrape(url)
    except OSError:
        return ""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, Receiver() as receiver:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        patch.setenv("LOG_FORMAT", "json")
        with running_relays() as relays:
            yield Site(relays, receiver)


def send_task(site: Site, *, traceparent: str) -> None:
    """As a service would: whatever it follows from goes along."""
    assert before_task_publish.receivers, "the project's tasks tell their story"
    url = broker.url_over_database(_database(site.relays.database_url))
    with Celery(broker=url, set_as_current=False) as app, caused_by(traceparent=traceparent):
        app.conf.broker_transport_options = broker.transport_options(url, visibility_timeout=60)
        with app.connection_for_write() as connection:
            app.send_task("outbox.make_partitions", connection=connection)


def _database(url: str) -> dict[str, object]:
    parsed = httpx.URL(url)
    return {
        "NAME": parsed.path.lstrip("/"),
        "USER": parsed.username,
        "PASSWORD": parsed.password,
        "HOST": parsed.host,
        "PORT": parsed.port,
    }


def named(spans: list[Received], name: str) -> Received:
    [found] = [span for span in spans if span.name == name]
    return found


def test_one_trace_leads_from_a_request_to_the_last_effect(site: Site) -> None:
    site.pay(trace=TRACE)

    asked_for = "POST api/payments/<uuid:payment_id>/validate/"
    awaited = {
        asked_for,
        f"process {VALIDATED}",
        *(f"{does} {about}" for does in ("create", "send") for about in (VALIDATED, CREATED)),
    }

    def whole() -> list[Received]:
        """Each process tells its own, in its own time."""
        spans = site.receiver.spans(trace=TRACE)
        return spans if awaited <= {span.name for span in spans} else []

    spans = until(whole, seconds=60)
    request = named(spans, asked_for)
    assert request.parent == "00f067aa0ba902b7"
    created = named(spans, f"create {VALIDATED}")
    assert created.parent == request.id
    assert named(spans, f"send {VALIDATED}").parent == created.id
    processed = named(spans, f"process {VALIDATED}")
    assert processed.parent == created.id
    assert processed.attributes["messaging.consumer.group.name"] == "orders"
    followed = named(spans, f"create {CREATED}")
    assert followed.parent == processed.id
    assert named(spans, f"send {CREATED}").parent == followed.id

    send_task(site, traceparent=f"00-{TRACE}-{processed.id}-01")
    ran = until(
        lambda: [span for span in site.receiver.spans(trace=TRACE) if span.name.startswith("run ")],
        seconds=60,
    )
    assert [(span.name, span.parent) for span in ran] == [("run outbox.make_partitions", processed.id)]


def test_an_entry_of_the_log_says_which_event_key_consumer_and_trace_it_is_about(site: Site) -> None:
    event_id, key = new_id(NOW), str(uuid4())
    poison(site, event_id=event_id, key=key)

    def entry() -> dict[str, str] | None:
        lines = [json.loads(line) for line in site.log().splitlines() if line.startswith("{")]
        found = [one for one in lines if "dead letter" in one["event"] and one.get("key") == key]
        return found[0] if found else None

    found = until(entry, seconds=60)
    assert found is not None
    assert (found["event_id"], found["consumer"], found["level"]) == (str(event_id), "orders", "error")
    assert (found["trace_id"], found["span_id"]) == (POISONED_TRACE, "00f067aa0ba902b7")


def poison(site: Site, *, event_id: UUID, key: str) -> None:
    producer = RecordProducer(
        {"bootstrap.servers": site.relays.stack.kafka_bootstrap},
        max_bytes=1_000_000,
        taken=lambda *_: None,
        refused=lambda _: None,
    )
    headers = cloudevent_headers(
        id=event_id,
        source="/strangers",
        type=VALIDATED,
        occurred_at=NOW,
        key=key,
        number=1,
        correlation_id=event_id,
        causation_id=None,
        traceparent=f"00-{POISONED_TRACE}-00f067aa0ba902b7-01",
        content_type="application/json",
    )
    producer.send(("payments", 0), key.encode(), b"{}", headers, None)
    flush(producer)


def test_every_process_tells_what_it_did(site: Site) -> None:
    site.pay(trace=uuid4().hex)

    def done(name: str, metric: str, **labels: str) -> bool:
        pages = [site.page(name, instance=instance) for instance in range(2 if name == "orders" else 1)]
        return sum(figure(figures(page), metric, **labels) for page in pages) > 0

    validated = {"topic": "payments", "type": VALIDATED}
    command = {"command": "POST payment-validate", "via": "request", "result": "done"}
    until(lambda: done("web", "outbox_published_events_total", **validated))
    until(lambda: done("web", "eventsite_command_seconds_count", **command))
    until(lambda: done("relay", "outbox_relayed_events_total", topic="payments"))
    until(lambda: done("orders", "outbox_sync_delay_seconds_count", consumer="orders"))
    until(lambda: done("relay", "outbox_shards_leased"))
    until(lambda: done("web", "outbox_consumer_instances", consumer="orders"))
    send_task(site, traceparent=f"00-{uuid4().hex}-00f067aa0ba902b7-01")
    task = {"command": "outbox.make_partitions", "via": "task", "result": "done"}
    until(lambda: done("worker", "eventsite_command_seconds_count", **task), seconds=60)


def test_rules_and_board_ask_for_what_processes_really_tell(site: Site) -> None:
    site.pay(trace=uuid4().hex)

    def told() -> list[str]:
        pages = [site.page(name) for name in ("web", "relay", "orders", "worker")]
        return [*pages, site.page("orders", instance=1)]

    awaited = {"outbox_consumer_lag_seconds", "outbox_sync_delay_seconds_bucket"}
    until(lambda: all(f"\n{name}{{" in "".join(pages) for pages in [told()] for name in awaited), seconds=60)
    pages = told()
    metrics, samples = set(OWN_METRICS), defaultdict[str, set[str]](set)
    for page in pages:
        for family in families(page).values():
            assert family.documentation, family.name
            endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            metrics |= {family.name + ending for ending in endings.get(family.type, ("",))}
            for sample in family.samples:
                samples[sample.name] |= set(sample.labels)
    for where, expression in expressions():
        for metric, labels in asked(expression).items():
            assert metric in metrics, f"{where}: {metric}"
            if metric in samples:  # nothing was refused, say, of which labels could be seen
                assert labels <= samples[metric] | OWN_LABELS, f"{where}: {metric}"
    assert samples.keys() >= awaited


def test_a_port_that_is_taken_is_said_and_nothing_else_is_done(site: Site) -> None:
    site.page("relay")
    taken = f"{HOST}:{site.ports['relay']}"
    said = site.relays.said("run_relay", METRICS_ADDRESS=taken)
    assert f"Metrics cannot be told at {taken}: Address already in use. Give each process" in said
