"""The database's clock, as SQL asks for it, moved by as much as a test likes; the server's own goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from outbox import clock

_FUNCTIONS = {
    "clock_timestamp": "VOLATILE",
    **dict.fromkeys(("now", "statement_timestamp", "transaction_timestamp"), "STABLE"),
}


class DatabaseClock:
    """Functions that hide PostgreSQL's, for all sessions that begin inside the block.

    The right time is a Wednesday at noon: a day before and after it is in the same week, and so in the same
    partitions.
    """

    def __enter__(self) -> "DatabaseClock":
        functions = "".join(
            f"CREATE FUNCTION moved.{name}() RETURNS timestamptz LANGUAGE sql {kind}"
            f" RETURN (SELECT pg_catalog.{name}() + ahead FROM moved.clock);"
            for name, kind in _FUNCTIONS.items()
        )
        self._execute(
            "CREATE SCHEMA moved; CREATE TABLE moved.clock AS SELECT interval '0' AS ahead;"
            f"{functions} ALTER DATABASE {self._database} SET search_path = moved, pg_catalog, public"
        )
        self.be_right()
        connection.close()
        return self

    def __exit__(self, *_: object) -> None:
        connection.close()
        self._execute(f"ALTER DATABASE {self._database} RESET search_path; DROP SCHEMA moved CASCADE")
        connection.close()
        clock.forget()

    def be_right(self) -> None:
        self.be_ahead(timedelta())

    def be_ahead(self, by: timedelta) -> None:
        """Jump; processes that have read the clock before ask again."""
        today = datetime.now(UTC)
        wednesday = today.replace(hour=12) + timedelta(days=7 + 2 - today.weekday())
        self._execute("UPDATE moved.clock SET ahead = %(by)s", {"by": wednesday - today + by})
        clock.forget()

    @property
    def _database(self) -> str:
        return connection.ops.quote_name(connection.settings_dict["NAME"])

    def _execute(self, statement: str, values: dict[str, Any] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
