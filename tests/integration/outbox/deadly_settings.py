"""The settings of a process that works on the tests' database."""

import os

from eventsite.settings import *  # noqa: F403
from eventsite.settings import DATABASES, OUTBOX

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
OUTBOX = {**OUTBOX, "TOPICS": "tests.engine.TOPICS"}
