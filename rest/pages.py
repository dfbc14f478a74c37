"""Lists come in pages that stay right while rows are added."""

from base64 import b64decode
from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView


class LatestFirst(CursorPagination):
    """Cursor pages by `id`, a UUIDv7, the latest first: {next, previous, results}."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int:
        """What was asked for, within bounds. Refuses what is not a number from 1 to `max_page_size`."""
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        if text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= self.max_page_size:
            return int(text)
        raise ValidationError({self.page_size_query_param: f"A number from 1 to {self.max_page_size}."})

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """As Django REST framework describes them, with the bounds."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {
                    "minimum": 1,
                    "maximum": self.max_page_size,
                    "default": self.page_size,
                }
        return parameters

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The place in the list. A cursor that no page of ours has given is refused, an empty one too."""
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            # Python's decoder skips what is not of its alphabet, and Django REST framework takes any query.
            b64decode(given, validate=True)
            cursor: Any = super().decode_cursor(request)
            # Ids are unique: every page of ours begins beside one.
            UUID(cursor.position or "")
        except (NotFound, ValueError):
            raise ValidationError({self.cursor_query_param: "Not a cursor of this list."}) from None
        return cursor  # type: ignore[no-any-return]


class EitherWay(LatestFirst):
    """Cursor pages by `id`, from either end: `ordering=created_at` begins with the oldest.

    Ids are UUIDv7 of the time of making, and unique: no row that comes or changes moves another to a page.
    """

    ordering_query_param = "ordering"
    orderings = {"-created_at": ("-id",), "created_at": ("id",)}

    def get_ordering(self, request: Request, queryset: Any, view: APIView) -> tuple[str, ...]:
        """The order asked for. Raises ValidationError for one that would not keep pages stable."""
        text = request.query_params.get(self.ordering_query_param, "-created_at")
        try:
            return self.orderings[text]
        except KeyError:
            message = f"There are {' and '.join(self.orderings)}."
            raise ValidationError({self.ordering_query_param: message}, code="invalid_choice") from None

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Those of pages, and the order."""
        return [
            *super().get_schema_operation_parameters(view),
            {
                "name": self.ordering_query_param,
                "required": False,
                "in": "query",
                "description": "The latest first, or the oldest.",
                "schema": {"type": "string", "enum": [*self.orderings], "default": "-created_at"},
            },
        ]
