"""Filters that refuse what they do not know, and those that several lists share."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import django_filters
from django import forms
from django.core import exceptions
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from outbox.ids import lowest_id
from rest.moments import parse_moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StrictFilterBackend(DjangoFilterBackend):
    """A misspelt, blank or repeated parameter is an error: other results would pass for those asked for."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        """The rows asked for. Raises ValidationError for unknown parameters and values."""
        filterset = self.get_filterset(request, queryset, view)
        filters = [] if filterset is None else sorted(filterset.filters)
        known = [*filters]
        paginator = getattr(view, "paginator", None)
        if isinstance(paginator, CursorPagination):
            known += [
                paginator.cursor_query_param,
                paginator.page_size_query_param,
                getattr(paginator, "ordering_query_param", None),
            ]
            known = [name for name in known if name]
        unknown = [
            name for name in request.query_params if name not in {*known, api_settings.URL_FORMAT_OVERRIDE}
        ]
        if unknown:
            message = f"Unknown parameter; there are {', '.join(known) or 'none'}."
            raise ValidationError(dict.fromkeys(unknown, message), code="unknown_parameter")
        repeated = [name for name, values in request.query_params.lists() if len(values) > 1]
        if repeated:
            raise ValidationError(dict.fromkeys(repeated, "Given more than once."), code="repeated")
        blank = [name for name in filters if not request.query_params.get(name, "given").strip()]
        if blank:
            raise ValidationError(dict.fromkeys(blank, "Empty: give a value, or leave it out."), code="empty")
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class MomentField(forms.CharField):
    """A time with its offset from UTC; without one it would be a guess."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> Any:
        """The moment in UTC, or None."""
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_moment(text)
        except ValueError:
            raise exceptions.ValidationError(
                "A time in ISO 8601 with an offset, like 2026-01-02T03:04:05Z or 2026-01-02T04:04:05%%2B01:00"
                " (in an address + is written %%2B).",
                code="invalid",
            ) from None


@extend_schema_field(OpenApiTypes.DATETIME)
class MomentFilter(django_filters.Filter):
    """Rows whose `created_at` lies on one side of a moment.

    Their ids are UUIDv7 of that time, and it is the ids that are indexed: so both are compared.
    """

    field_class = MomentField


class CreatedAfter(MomentFilter):
    """Rows made at this moment or later."""

    def filter(self, qs: QuerySet[Any], value: datetime | None) -> QuerySet[Any]:
        """The rows that are left."""
        if value is None:
            return qs
        return qs.filter(created_at__gte=value, id__gte=lowest_id(max(value, _EPOCH)))


class CreatedBefore(MomentFilter):
    """Rows made before this moment."""

    def filter(self, qs: QuerySet[Any], value: datetime | None) -> QuerySet[Any]:
        """The rows that are left."""
        if value is None:
            return qs
        next_millisecond = UUID(int=lowest_id(max(value, _EPOCH)).int + (1 << 80))
        return qs.filter(created_at__lt=value, id__lt=next_millisecond)


class SpanForm(forms.Form):
    """Refuses a span that ends before it begins: its emptiness would pass for an answer."""

    def clean(self) -> dict[str, Any]:
        """What was given, when it is a span."""
        given: dict[str, Any] = super().clean() or {}
        after, before = given.get("created_after"), given.get("created_before")
        if after is not None and before is not None and after > before:
            self.add_error(
                "created_before", exceptions.ValidationError("It lies before created_after.", code="span")
            )
        return given


class CreatedSpan(django_filters.FilterSet):
    """Filters by the time at which a row was made. The end is outside, so that spans can meet."""

    created_after = CreatedAfter(label="Made at this time or later, like 2026-01-02T03:04:05Z")
    created_before = CreatedBefore(label="Made before this time, like 2026-01-03T00:00:00+01:00")

    class Meta:
        form = SpanForm
