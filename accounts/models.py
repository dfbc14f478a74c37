"""Users. A merchant is a user in the group "merchant"; services store its id, never a foreign key."""

from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property
from uuid_utils.compat import uuid7

from accounts.roles import MERCHANT


class User(AbstractUser):
    """Someone or something that signs in: a person at the dashboard, or a merchant's client of the API."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    @cached_property
    def is_merchant(self) -> bool:
        """Whether it may ask for payments of its own. Asked of the database once per request."""
        return self.groups.filter(name=MERCHANT).exists()

    @property
    def sees_merchant(self) -> UUID | None:
        """The one merchant whose rows this user may see: itself; None means every merchant (staff)."""
        return None if self.is_staff else self.id
