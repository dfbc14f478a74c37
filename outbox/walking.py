"""Having the database walk along an index, in its order: the first is found first, whatever there is."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction

# The plan is to be the walk whatever the statistics say, and a moment's work is not worth compiling.
_OFF = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort", "jit")
_SET = """
SELECT array_agg(name), array_agg(before) FROM (
    SELECT name, current_setting(name) AS before, set_config(name, 'off', true)
    FROM unnest(%s::text[]) AS name
) AS replaced
"""
_RESTORE = "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS plan (name, value)"


@contextmanager
def in_index_order(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Have the queries inside walk along indexes, in their order; what the transaction asks later is planned
    as before. Reads alone.
    """
    with transaction.atomic(using=using), connections[using].cursor() as sql:
        sql.execute(_SET, [[*_OFF]])
        names, before = sql.fetchone()
        yield
        sql.execute(_RESTORE, [names, before])
