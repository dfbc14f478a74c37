"""How much a caller may ask for: one budget each, shared by all processes, in one statement per request.

A budget refills at a rate, up to a burst (the generic cell rate algorithm, GCRA: ITU-T I.371, as leaky
buckets are metered). All that is kept of a caller is the moment at which its budget will be full again; who
has no row has spent nothing. The table is unlogged: spending waits for no disk, and a crash of the database
fills all budgets.

An error of the database is none of the throttle's: it is raised, and answered as it is everywhere.
"""

import ipaddress
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:
    # Django REST framework's views import what its settings name: this module.
    from rest_framework.views import APIView

_PAID = "rest_throttling_paid"
_SPEND = """
INSERT INTO rest_budget AS budget (spender, full_at)
VALUES (%(spender)s, statement_timestamp() + make_interval(secs => %(price)s))
ON CONFLICT (spender) DO UPDATE
SET full_at = greatest(budget.full_at, statement_timestamp()) + make_interval(secs => %(price)s)
WHERE greatest(budget.full_at, statement_timestamp()) + make_interval(secs => %(price)s)
    <= statement_timestamp() + make_interval(secs => %(whole)s)
"""
_GIVE_BACK = """
UPDATE rest_budget SET full_at = full_at - make_interval(secs => %(price)s) WHERE spender = %(spender)s
"""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each spender of one kind may spend: `burst` at once, then `per_second`."""

    kind: str
    per_second: float
    burst: int

    @property
    def wait(self) -> int:
        """Whole seconds after which who was refused is not refused any more: it lacks one at the most."""
        return math.ceil(1 / self.per_second)

    def spend(self, spender: str) -> bool:
        """Take one; False, and nothing taken, when nothing is left."""
        with connection.cursor() as cursor:
            cursor.execute(_SPEND, self._parameters(spender))
            return bool(cursor.rowcount)

    def give_back(self, spender: str) -> None:
        """Return what was taken a moment ago."""
        with connection.cursor() as cursor:
            cursor.execute(_GIVE_BACK, self._parameters(spender))

    def _parameters(self, spender: str) -> dict[str, str | float]:
        price = 1 / self.per_second
        return {"spender": f"{self.kind}:{spender}", "price": price, "whole": price * self.burst}


class SharedThrottle(BaseThrottle):
    """Every user has a budget of requests; who is not signed in shares that of the address.

    A request is paid for once, however often it is looked at: a view that waits looks twice, and what is
    refused for want of a permission is paid for as it is refused (`rest.problems`).
    """

    def __init__(self) -> None:
        self.budget = Budget(kind="api", per_second=settings.API_RATE_PER_SECOND, burst=settings.API_BURST)

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Whether the request is served; otherwise it is a 429."""
        paid = vars(request._request)
        if _PAID not in paid:
            user_id = request.user.pk
            if not self.budget.spend(str(user_id) if user_id is not None else address_of(request)):
                return False
            paid[_PAID] = True
        return True

    def wait(self) -> float:
        """Seconds, for Retry-After."""
        return self.budget.wait


def address_of(request: HttpRequest | Request) -> str:
    """From where a request comes: an IPv4 address, or the /64 that an IPv6 host has for itself.

    The connection's address. Behind a proxy its server is told to trust (uvicorn's --forwarded-allow-ips), it
    is the client's; a header that anyone may send is not asked.
    """
    text = request.META.get("REMOTE_ADDR") or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def prune(*, idle: timedelta = timedelta(minutes=1)) -> int:
    """Forget budgets that have been full for a while: no row says the same. How many they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM rest_budget WHERE full_at < now() - make_interval(secs => %s)",
            [idle.total_seconds()],
        )
        return int(cursor.rowcount)
