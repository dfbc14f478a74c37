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


class MerchantsAndOperatorsWrite(BasePermission):
    """Everyone signed in may read (their own rows); merchants and operators may write.

    For whom they do, `User.acts_for_merchant` says.
    """

    message = "Only a merchant or an operator may do this: ask an administrator to add your user to a group."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuses with 401 whom nobody knows, with 403 whom both groups lack."""
        user = request.user
        return isinstance(user, User) and (
            request.method in SAFE_METHODS or user.is_merchant or user.may_operate
        )
