"""The settings of a process that works on the tests' database."""

import os
from typing import Any, cast

from eventsite.settings import *  # noqa: F403
from eventsite.settings import DATABASES, OUTBOX

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
cast("dict[str, Any]", OUTBOX).update(TOPICS="tests.engine.TOPICS", HANDLER_LIMIT=1.0)
