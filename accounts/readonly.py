"""Rows in the admin are for looking: they change through services, or their events would not tell of it."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import TabularInline

from outbox.keyset import KeysetLists


class ReadOnlyAdmin(KeysetLists):
    """Lists and shows; adds, changes and deletes nothing, for superusers neither."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class ReadOnlyInline(TabularInline):
    """Rows shown beside the row they belong to."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False
