"""Many rows of a table in one statement, whose text does not grow with them.

Django's bulk_create compiles each value of each row: half a millisecond for a dead letter.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import AutoField, BigAutoField, JSONField, Model


def insert(
    rows: Sequence[Model], *, using: str, unique: Sequence[str] = (), update: Sequence[str] = ()
) -> None:
    """Insert rows of one model, in this order; ids that the database gives out are given in it.

    unique  columns in which a row may be there already; then these of it are updated
    """
    if not rows:
        return
    connection = connections[using]
    fields = [
        field
        for field in rows[0]._meta.concrete_fields
        if field.column and not isinstance(field, AutoField | BigAutoField)
    ]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    arrays = ", ".join(f"%s::{field.db_type(connection)}[]" for field in fields)
    values: list[list[Any]] = []
    for field in fields:
        column = [getattr(row, field.attname) for row in rows]
        values.append([json.dumps(value) for value in column] if isinstance(field, JSONField) else column)
    conflict = ""
    if unique:
        renewed = ", ".join(f'"{column}" = EXCLUDED."{column}"' for column in update)
        conflict = f" ON CONFLICT ({', '.join(unique)}) DO UPDATE SET {renewed}"
    with connection.cursor() as sql:
        sql.execute(
            f'INSERT INTO "{rows[0]._meta.db_table}" ({columns}) SELECT {columns}'
            f" FROM unnest({arrays}) WITH ORDINALITY AS given ({columns}, place) ORDER BY place{conflict}",
            values,
        )
