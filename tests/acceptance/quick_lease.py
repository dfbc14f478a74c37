"""The project's settings, with leases that end soon: a frozen relay is not waited for so long."""

from typing import Any

from eventsite import settings
from eventsite.settings import *  # noqa: F403

OUTBOX: dict[str, Any] = {**settings.OUTBOX, "LEASE": 1.0}  # type: ignore[no-redef]
