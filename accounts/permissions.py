"""Who may act through the REST API.

Whose rows a user may see is decided by `User.sees_merchant`, on whose it may act by `User.acts_for_merchant`.
"""

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User


def signed_in(request: Request) -> User:
    """The user behind a request that a permission has let through. Raises NotAuthenticated for nobody."""
    if isinstance(request.user, User):
        return request.user
    raise NotAuthenticated()


class MerchantsWrite(BasePermission):
    """Everyone signed in may read (their own rows); only merchants may write."""

    message = "Only a merchant may do this: ask an administrator to add your user to the group 'merchant'."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuses with 401 whom nobody knows, with 403 whom the group lacks."""
        user = request.user
        return isinstance(user, User) and (request.method in SAFE_METHODS or user.is_merchant)


class MerchantsAndOperatorsWrite(MerchantsWrite):
    """As MerchantsWrite, and operators may act for any merchant: `User.acts_for_merchant` says for whom."""

    message = "Only a merchant or an operator may do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuses with 401 whom nobody knows, with 403 whom both groups lack."""
        if isinstance(request.user, User) and request.user.may_operate:
            return True
        return super().has_permission(request, view)
