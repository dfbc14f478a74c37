"""What consumers cannot process, made in a site that runs: events that nobody can read, and gaps."""

import psycopg

from tests.browser.site import Site
from tests.engine import until

POISON = """
UPDATE outbox_event
SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '"EUR"', '"E<b>R"'), 'UTF8')
WHERE type = 'payments.PaymentValidated.v1' AND key = ANY(%s)
"""
OPEN = "SELECT count(*) FROM outbox_dead_letter WHERE state = 'open'"


def poison(site: Site, *, payments: int, refunds: bool = True) -> list[str]:
    """Payments whose validation nobody can read, each with a refund behind it; their ids.

    The event is spoilt in the outbox before the relay sends it, past the trigger that refuses that.
    """
    before = site.query(OPEN)[0][0]
    site.end("relay")
    made = []
    for number in range(payments):
        body = {"customer_id": f"c-{number}", "amount": "12.50", "currency": "EUR"}
        made.append(str(site.post("first", "/api/payments/", body)["id"]))
        site.post("first", f"/api/payments/{made[-1]}/validate/", {})
        if refunds:
            site.post("first", f"/api/payments/{made[-1]}/refund/", {"reason": "wrong size"})
    with psycopg.connect(site.stack.database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(POISON, [made])
    site.start("relay")
    # Three consumers read it.
    until(lambda: site.query(OPEN)[0][0] == before + 3 * payments, seconds=60)
    if refunds:
        behind = "SELECT count(*) FROM outbox_waiting_event WHERE key = ANY(ARRAY['{}'])".format(
            "','".join(made)
        )
        until(lambda: site.query(behind)[0][0] >= 2 * payments, seconds=60)
    return made


def mend(site: Site) -> None:
    """The records that were kept can be read now."""
    with psycopg.connect(site.stack.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE outbox_dead_letter SET payload = convert_to(replace(convert_from(payload, 'UTF8'),"
            " 'E<b>R', 'EUR'), 'UTF8')"
        )


def lose(site: Site) -> str:
    """A payment of which the outbox never sends the validation, but the refund behind it; its id."""
    site.end("relay")
    payment = str(
        site.post("first", "/api/payments/", {"customer_id": "c-1", "amount": "1", "currency": "EUR"})["id"]
    )
    site.post("first", f"/api/payments/{payment}/validate/", {})
    site.post("first", f"/api/payments/{payment}/refund/", {"reason": "wrong size"})
    with psycopg.connect(site.stack.database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM outbox_event WHERE key = %s AND number = 2", [payment])
    site.start("relay")
    parked = f"SELECT count(*) FROM outbox_parked_key WHERE cause = 'gap' AND key = '{payment}'"
    until(lambda: site.query(parked)[0][0] >= 2, seconds=60)
    return payment
