"""Users and groups in the admin, in unfold's clothes."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from rest_framework.authtoken.admin import TokenAdmin as DjangoTokenAdmin
from rest_framework.authtoken.models import TokenProxy
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.views import ChangeList

from accounts.models import User
from accounts.roles import ROLES
from outbox.keyset import KeysetChangeList, KeysetLists

admin.site.unregister([Group, TokenProxy])


class RoleFilter(admin.SimpleListFilter):
    """Those of one group: a user is in it once."""

    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The roles that there are."""
        return [(name, name) for name in ROLES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        """Users in the chosen one."""
        return queryset.filter(groups__name=self.value()) if self.value() else queryset


@admin.register(User)
class UserAdmin(KeysetLists, DjangoUserAdmin):  # type: ignore[misc, type-arg]
    """Users with their groups; the id is what services store as merchant_id."""

    form = UserChangeForm
    add_form = UserCreationForm
    add_fieldsets = DjangoUserAdmin.add_fieldsets  # unfold's are empty
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "id", "group_names", "is_staff", "is_active", "last_login")
    list_filter = (RoleFilter, "is_staff", "is_superuser", "is_active")
    found_by = ("username", "id")
    search_help_text = "A whole user name or id"
    ordering = ("username",)
    readonly_fields = ("id", "last_login", "date_joined")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With their groups, in one query for all."""
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="groups")
    def group_names(self, user: User) -> str:
        """The user's groups in one line."""
        return ", ".join(sorted(group.name for group in user.groups.all()))


@admin.register(Group)
class GroupAdmin(KeysetLists, DjangoGroupAdmin):  # type: ignore[misc]
    """Groups with their permissions."""

    found_by = ("name",)
    ordering = ("name",)


class TokenPages(KeysetChangeList):
    """Of a token the address names whose it is: the token itself is a secret, and stays out of addresses."""

    def url_for_result(self, result: TokenProxy) -> str:
        """The page of the user's token."""
        return reverse("admin:authtoken_tokenproxy_change", args=[result.user_id])


@admin.register(TokenProxy)
class TokenAdmin(KeysetLists, DjangoTokenAdmin):  # type: ignore[misc]
    """Tokens of clients of the API."""

    list_display = ("user", "created")
    list_select_related = ("user",)
    search_help_text = ""
    ordering = ("user_id",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Pages by place, and links by user."""
        return TokenPages
