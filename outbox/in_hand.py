"""What a worker marks before it begins: so what kills its process is found out, and does so no fourth time.

A mark is written with its worker's name in a transaction of its own, before the one that acts. Whoever comes
away from it alive takes the name off; a mark with the name of a worker that has gone is a death. One that was
written a moment ago is of a worker that is about to begin.
"""

import os
import socket
import threading
from datetime import datetime, timedelta
from uuid import UUID

from django.db import models

FRESH = timedelta(seconds=5)


class InHand(models.Model):
    """The columns of a mark.

    in_hand     what a worker is about to begin, marked `in_hand_by` whom and `in_hand_at` when
    in_hand_by  empty once it has come away from it
    deaths      how many processes had died with it in hand before
    """

    in_hand = models.UUIDField(null=True)
    in_hand_by = models.TextField(default="", db_default="")
    in_hand_at = models.DateTimeField(null=True)
    deaths = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        abstract = True

    def deaths_with(self, item: UUID, *, now: datetime) -> int | None:
        """How many processes have died with this in hand; None while another worker is about to begin it."""
        if self.in_hand != item:
            return 0
        if self.in_hand_by in ("", me()):
            return self.deaths
        if self.in_hand_at is not None and now - self.in_hand_at < FRESH:
            return None
        return self.deaths + 1


def me() -> str:
    """This worker: one thread of one process."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"
