"""Celery's queues in PostgreSQL, by kombu's `pgmq` transport: no server besides the database."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

SCHEME = "pgmq"


def url_over_database(database: Mapping[str, Any]) -> str:
    """The broker URL of the database that a Django DATABASES entry names."""
    user, password = (
        quote(database.get("USER") or "", safe=""),
        quote(database.get("PASSWORD") or "", safe=""),
    )
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    port = f":{database['PORT']}" if database.get("PORT") else ""
    return f"{SCHEME}://{login}{database.get('HOST') or 'localhost'}{port}/{quote(database['NAME'], safe='')}"


def over_postgresql(url: str) -> bool:
    """Whether this broker is a PostgreSQL."""
    return url.startswith(f"{SCHEME}://")


def transport_options(url: str, *, visibility_timeout: int) -> dict[str, Any]:
    """The options of this broker's transport; none for another kind of broker.

    visibility_timeout  seconds after which a task that its worker did not finish is given to another: after a
                        kill, and also when it merely takes longer
    """
    if not over_postgresql(url):
        return {}
    return {
        # A migration made the schema: the extension need not exist.
        "init_extension": False,
        # The client prefers the environment's DATABASE_URL to the broker's URL unless it is given this.
        "conn_string": f"postgresql{url.removeprefix(SCHEME)}",
        "use_notify": True,
        "notify_throttle_interval_ms": 0,
        # Woken by a notification; polls only for what a killed worker held.
        "polling_interval": 1.0,
        "wait_time_seconds": 0,
        "visibility_timeout": visibility_timeout,
        "pool_size": 4,
    }
