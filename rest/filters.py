"""Filters that refuse what they do not know."""

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView


class StrictFilterBackend(DjangoFilterBackend):
    """A misspelt or empty parameter is an error: unfiltered results would pass for filtered ones."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """The rows asked for. Raises ValidationError for unknown parameters and values."""
        filterset = self.get_filterset(request, queryset, view)
        filters = [] if filterset is None else sorted(filterset.filters)
        known = list(filters)
        paginator = getattr(view, "paginator", None)
        if isinstance(paginator, CursorPagination):
            known += [paginator.cursor_query_param, paginator.page_size_query_param or ""]
        unknown = [
            name for name in request.query_params if name not in {*known, api_settings.URL_FORMAT_OVERRIDE}
        ]
        if unknown:
            message = f"Unknown parameter; there are {', '.join(known) or 'none'}."
            raise ValidationError(dict.fromkeys(unknown, message), code="unknown_parameter")
        empty = [name for name in filters if request.query_params.get(name) == ""]
        if empty:
            raise ValidationError(dict.fromkeys(empty, "Empty: give a value, or leave it out."), code="empty")
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered
