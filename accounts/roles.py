"""The groups of users, and what the admin shows them.

    merchant   asks for payments; sees and acts on its own rows
    viewer     sees every merchant's rows, acts on nothing
    operator   sees every merchant's rows and acts for any merchant
    admin      is no group but `is_superuser`: everything

`is_staff` opens the admin site and lets see every merchant's rows; by itself it lets act on nothing.
"""

from collections import defaultdict
from typing import Any

from django.apps import AppConfig
from django.db import connections, router

MERCHANT = "merchant"
OPERATOR = "operator"
VIEWER = "viewer"

ROLES = (MERCHANT, OPERATOR, VIEWER)
# Whose rows the admin shows to operators and viewers who are staff.
SHOWN_APPS = frozenset({"payments", "orders", "loyalty", "analytics", "outbox"})


# By database, those that were there before the migrate under way.
_known: dict[str, set[int]] = defaultdict(set)


def ensure_roles(sender: AppConfig, *, using: str, **_: Any) -> None:
    """The groups exist and may view this app's rows, and operators act on them (a post_migrate receiver).

    After every migrate: permissions are made there too, also those of models that come later. Other
    permissions that someone gives to the groups stay. An act's own permission is given to operators once,
    when it has been made: so it can be taken from them, and given to a group made for it, or to nobody.
    """
    from django.contrib.auth.models import Group, Permission

    if not router.allow_migrate_model(using, Group):
        return
    groups = {name: Group.objects.using(using).get_or_create(name=name)[0] for name in ROLES}
    if sender.label in SHOWN_APPS:
        view = Permission.objects.using(using).filter(
            content_type__app_label=sender.label, codename__startswith="view_"
        )
        for name in (OPERATOR, VIEWER):
            groups[name].permissions.add(*view)
        acts = Permission.objects.using(using).filter(content_type__app_label=sender.label, group=None)
        new = acts.exclude(codename__regex=r"^(view|add|change|delete)_").exclude(id__in=_known[using])
        groups[OPERATOR].permissions.add(*new)


def remember_permissions(using: str, **_: Any) -> None:
    """Which permissions there are before a migrate: they have been given already (a pre_migrate receiver)."""
    from django.contrib.auth.models import Permission

    tables = connections[using].introspection.table_names()
    there = Permission._meta.db_table in tables and router.allow_migrate_model(using, Permission)
    _known[using] = set(Permission.objects.using(using).values_list("id", flat=True)) if there else set()
