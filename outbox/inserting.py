"""Many rows of a table in one statement, whose text does not grow with them.

Django's bulk_create compiles each value of each row: half a millisecond for a dead letter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import AutoField, BigAutoField, BinaryField, Field, JSONField, Model


def insert(
    rows: Sequence[Model],
    *,
    using: str,
    unique: Sequence[str] = (),
    update: Sequence[str] = (),
    keep: Mapping[str, str] | None = None,
) -> None:
    """Insert rows of one model, in this order; ids that the database gives out are given in it.

    unique  columns in which a row may be there already; then those of `update` are updated
    keep    columns that are updated unless a condition holds, in which the row already there is called there
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
    values = [array(_texts(field, [getattr(row, field.attname) for row in rows])) for field in fields]
    conflict = ""
    if unique:
        renewed = [f'"{column}" = EXCLUDED."{column}"' for column in update]
        renewed += [
            f'"{column}" = CASE WHEN {condition} THEN there."{column}" ELSE EXCLUDED."{column}" END'
            for column, condition in (keep or {}).items()
        ]
        conflict = f" ON CONFLICT ({', '.join(unique)}) DO UPDATE SET {', '.join(renewed)}"
    with connection.cursor() as sql:
        sql.execute(
            f'INSERT INTO "{rows[0]._meta.db_table}" AS there ({columns}) SELECT {columns}'
            f" FROM unnest({arrays}) WITH ORDINALITY AS given ({columns}, place) ORDER BY place{conflict}",
            values,
        )


def array(values: Sequence[object]) -> str:
    """A PostgreSQL array as text, of anything but bytes. psycopg's own took a third of a consumer's time.

    Nearly always all of it is text, or none is.
    """
    try:
        text = '","'.join(values)  # type: ignore[arg-type]
    except TypeError:
        return "{" + ",".join([_quoted(one) if isinstance(one, str) else _plain(one) for one in values]) + "}"
    if "\\" in text or text.count('"') != 2 * (len(values) - 1):
        text = '","'.join([_escaped(one) for one in values if isinstance(one, str)])
    return f'{{"{text}"}}' if values else "{}"


def _plain(value: object) -> str:
    """Of a number, an id, a time: they hold nothing that means something in an array."""
    return "NULL" if value is None else str(value)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _texts(field: Field[Any, Any], column: list[Any]) -> list[Any]:
    """What array() cannot write by itself, as text."""
    if isinstance(field, JSONField):
        return [json.dumps(value) for value in column]
    if isinstance(field, BinaryField):
        return [None if value is None else f"\\x{bytes(value).hex()}" for value in column]
    return column
