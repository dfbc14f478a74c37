"""What the committed payments must have come to at the consumers, once each."""

from collections.abc import Callable
from typing import Any

Query = Callable[[str], list[tuple[Any, ...]]]


def check_points(query: Query) -> None:
    """An entry for every validated payment, and another for every refunded one, which takes it back."""
    [(entries, points)] = query("SELECT count(*), sum(points) FROM loyalty_ledgerentry")
    [(expected, earned)] = query(
        "SELECT count(validated_at) + count(*) FILTER (WHERE status = 'refunded'),"
        " sum(amount_minor / 100) FILTER (WHERE status = 'validated') FROM payments_payment"
    )
    assert entries == expected > 0
    assert points == earned


def check_volumes(query: Query) -> None:
    """In every width and for everyone as for the merchant: what the payments add up to."""
    truth = query(
        "SELECT status, count(*), sum(amount_minor)::bigint FROM ("
        " SELECT 'pending' AS status, amount_minor FROM payments_payment"
        " UNION ALL SELECT 'validated', amount_minor FROM payments_payment WHERE validated_at IS NOT NULL"
        " UNION ALL SELECT 'refunded', amount_minor FROM payments_payment WHERE status = 'refunded'"
        ") AS told GROUP BY status ORDER BY status"
    )
    found = query(
        "SELECT width, merchant_id, status, sum(count)::bigint, sum(amount_minor)::bigint FROM analytics_slot"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    series = {row[:2] for row in found}
    assert len(series) == 10
    for one in series:
        assert [row[2:] for row in found if row[:2] == one] == truth
