"""What Prometheus reads: the process's own metrics, and in some processes those of the system.

Needs prometheus-client. Metrics that others keep in its default registry are told beside these.
"""

import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from outbox.errors import MetricsAddressInUse
from outbox.health import may_ask
from outbox.metrics import INSTRUMENTS, Count, Spread
from outbox.system_metrics import GAUGES, System

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PATH = "/metrics"
# For a scraper that sends or reads slowly.
PATIENCE = 10.0

logger = logging.getLogger(__name__)


class Instruments(Collector):
    """What this process has counted. Each metric is told from the first scrape on, with its help."""

    def collect(self) -> Iterator[Metric]:
        """All of it now."""
        for instrument in INSTRUMENTS:
            yield _counter(instrument) if isinstance(instrument, Count) else _histogram(instrument)


def _counter(count: Count) -> Metric:
    family = CounterMetricFamily(count.name, count.text, labels=count.labels)
    for labels, value in count.values().items():
        family.add_metric(labels, value)
    return family


def _histogram(spread: Spread) -> Metric:
    family = HistogramMetricFamily(spread.name, spread.text, labels=spread.labels)
    for labels, (counts, total) in spread.values().items():
        buckets, seen = [], 0
        for bound, count in zip([*map(_bound, spread.bounds), "+Inf"], counts, strict=True):
            seen += count
            buckets.append((bound, seen))
        family.add_metric(labels, buckets, total)
    return family


def _bound(bound: float) -> str:
    return str(float(bound))


class Gauges(Collector):
    """How the system stands."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is not asked to say what there is."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """As of the last second. A gauge of which nothing is known has its help alone."""
        families = {
            name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in GAUGES.items()
        }
        for sample in SYSTEM.samples():
            families[sample.name].add_metric(sample.labels, float(sample.value))
        yield from families.values()


SYSTEM = System()
_gauges = CollectorRegistry()
_gauges.register(Gauges())
REGISTRY.register(Instruments())


def page(*, system: bool) -> bytes:
    """The text for Prometheus; `system` has the database asked how all stands."""
    return generate_latest(REGISTRY) + (generate_latest(_gauges) if system else b"")


def serve(address: str, *, system: bool = False, instance: int = 0) -> ThreadingHTTPServer:
    """Tell the metrics at this address, from a thread of its own, until the process ends.

    Whoever may ask for health may ask for them.

    address   host:port; without a host on all of the machine's
    instance  of several processes under one address each listens on a port of its own, the next ones

    Raises MetricsAddressInUse, ImproperlyConfigured.
    """
    host, port = _parsed(address)
    handler = type("Handler", (_Handler,), {"system": system})
    try:
        server = _server(host, port + instance, handler)
    except OSError as error:
        raise MetricsAddressInUse(
            f"Metrics cannot be told at {host or '*'}:{port + instance}: {error.strerror}."
            " Give each process of a machine a port of its own; instances take as many as they are."
        ) from error
    threading.Thread(target=server.serve_forever, name="outbox-metrics", daemon=True).start()
    logger.info("metrics are told at %s:%s%s", host or "*", server.server_address[1], PATH)
    return server


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) < 1 << 16:
        raise ImproperlyConfigured(f"OUTBOX['METRICS_ADDRESS'] is host:port, not {address!r}.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _server(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
    server: ThreadingHTTPServer = kind((host, port), handler)
    return server


class _Handler(BaseHTTPRequestHandler):
    """Answers one path."""

    timeout = PATIENCE
    system = False

    def do_GET(self) -> None:
        """The page, to those who may ask."""
        if not may_ask(self.client_address[0]):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._tell()

    def _tell(self) -> None:
        try:
            text = page(system=self.system)
        finally:
            connections.close_all()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line."""
