"""Users. A merchant is a user in the group "merchant"; services store its id, never a foreign key."""

from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

from accounts.roles import MERCHANT, OPERATOR, VIEWER


class User(AbstractUser):
    """Someone or something that signs in: a person at the dashboard, or a merchant's client of the API."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    @cached_property
    def roles(self) -> frozenset[str]:
        """The names of its groups. Asked of the database once per request."""
        return frozenset(self.groups.values_list("name", flat=True))

    @property
    def is_merchant(self) -> bool:
        """Whether it may ask for payments of its own."""
        return MERCHANT in self.roles

    @property
    def may_operate(self) -> bool:
        """Whether it may act for any merchant, and look after events."""
        return self.is_superuser or OPERATOR in self.roles

    @property
    def sees_merchant(self) -> UUID | None:
        """The one merchant whose rows this user may see: itself; None means every merchant."""
        sees_all = self.is_staff or self.may_operate or VIEWER in self.roles
        return None if sees_all else self.id

    @property
    def acts_for_merchant(self) -> UUID | None:
        """The one merchant on whose rows this user may act: itself; None means every merchant.

        Not the same as `sees_merchant`: a merchant who is a viewer, too, acts on its own alone.
        """
        return None if self.may_operate else self.id
