"""Lists of the admin that are quick at any size: nothing is counted, and nothing skipped through.

A page is what lies before or after a row in the order of the list, which an index has; the address names that
row. A search is for the whole value of an indexed field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet, UUIDField
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

BEYOND, ABOVE = "beyond", "above"


@dataclass(frozen=True, slots=True)
class Pages:
    """The addresses of the pages beside this one; empty where there is none."""

    previous: str
    next: str
    template_name: str = "admin/outbox/pages.html"


class KeysetChangeList(ChangeList):
    """A page of rows, and whether there are more on either side. Its order has to run in one direction."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Without the place of the page."""
        given: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in given.items() if name not in {BEYOND, ABOVE}}

    def get_results(self, request: HttpRequest) -> None:
        """Read one row more than is shown: it says that there are more."""
        fields, descending = self._order()
        beyond, above = request.GET.get(BEYOND), request.GET.get(ABOVE)
        rows, size = self.queryset, self.list_per_page
        if above is not None:
            rows = rows.filter(_past(fields, self._place(fields, above), descending=not descending)).reverse()
        elif beyond is not None:
            rows = rows.filter(_past(fields, self._place(fields, beyond), descending=descending))
        found = list(rows[: size + 1])
        shown, more = found[:size], len(found) > size
        if above is not None:
            shown.reverse()
        has_previous, has_next = (more, True) if above is not None else (beyond is not None, more)
        self.result_list = shown
        self.result_count = len(shown)
        self.paginator = Pages(
            self._address(ABOVE, fields, shown[0]) if shown and has_previous else "",
            self._address(BEYOND, fields, shown[-1]) if shown and has_next else "",
        )
        # What is on the page is all that is said about how many there are.
        self.full_result_count, self.show_full_result_count = self.result_count, False
        self.can_show_all = self.multi_page = False
        self.show_admin_actions = True

    def get_query_string(
        self, new_params: dict[str, Any] | None = None, remove: list[str] | None = None
    ) -> str:
        """Another filter begins at its first page."""
        query: str = super().get_query_string(new_params, [BEYOND, ABOVE, *(remove or [])])
        return query

    def _order(self) -> tuple[list[Field[Any, Any]], bool]:
        names = [str(name) for name in self.queryset.query.order_by]
        descending = names[0].startswith("-")
        assert all(name.startswith("-") == descending for name in names)  # noqa: S101
        plain = (name.removeprefix("-") for name in names)
        meta = self.lookup_opts
        return [meta.pk if name == "pk" else meta.get_field(name) for name in plain], descending

    def _place(self, fields: list[Field[Any, Any]], said: str) -> list[Any]:
        try:
            values = json.loads(said)
            return [field.to_python(value) for field, value in zip(fields, values, strict=True)]
        except (ValueError, TypeError, RecursionError, ValidationError) as error:
            raise IncorrectLookupParameters(str(error)) from error

    def _address(self, side: str, fields: list[Field[Any, Any]], row: Model) -> str:
        values = [field.value_to_string(row) for field in fields]
        return str(super().get_query_string({side: json.dumps(values)}, [BEYOND, ABOVE]))


def _past(fields: list[Field[Any, Any]], values: list[Any], *, descending: bool) -> Q:
    """Rows after these values: in a form that an index can be entered with."""
    (field, *fields), (value, *values) = fields, values
    compare = "lt" if descending else "gt"
    if not fields:
        return Q(**{f"{field.name}__{compare}": value})
    rest = _past(fields, values, descending=descending)
    return Q(**{f"{field.name}__{compare}e": value}) & (Q(**{f"{field.name}__{compare}": value}) | rest)


class KeysetLists(ModelAdmin):
    """A list in pages. `found_by` names indexed fields: a search is for the whole value of one."""

    found_by: tuple[str, ...] = ()
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    sortable_by: tuple[str, ...] = ()
    list_fullwidth = True

    class Media:
        css: ClassVar = {"all": ["outbox/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Pages by place."""
        return KeysetChangeList

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """What shows the search box."""
        return self.found_by

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Rows with exactly this value in one of the fields."""
        wanted = search_term.strip()
        if not wanted:
            return queryset, False
        match = Q()
        for name in self.found_by:
            column = self.model._meta.get_field(name)
            if not isinstance(getattr(column, "target_field", column), UUIDField):
                match |= Q(**{name: wanted})
            elif (as_id := _uuid(wanted)) is not None:
                match |= Q(**{name: as_id})
        return (queryset.filter(match) if match else queryset.none()), False


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
