"""Signing in, with wrong passwords and tokens bounded for each address: guessing is not worth while."""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from rest.throttling import Budget, address_of

WRONG_PASSWORDS = Budget(kind="wrong-password", per_second=1 / 5, burst=30)
WRONG_TOKENS = Budget(kind="wrong-token", per_second=10, burst=1_000)


class PasswordBackend(ModelBackend):
    """Django's, for the dashboard and the admin. Who has guessed too often is not even listened to."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The user, or None. Raises ValidationError, which forms show as theirs, when it was too often."""
        if request is None:
            return super().authenticate(request, username, password, **kwargs)
        address = address_of(request)
        if WRONG_PASSWORDS.is_spent(address):
            raise ValidationError(
                f"Too many wrong passwords from your address: try again in {WRONG_PASSWORDS.wait} seconds."
            )
        user = super().authenticate(request, username, password, **kwargs)
        if user is None and password is not None:
            WRONG_PASSWORDS.spend(address)
        return user

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The very same. Django's own would ask the database by another way."""
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)


class BoundedTokenAuthentication(TokenAuthentication):
    """Django REST framework's. After many wrong tokens from one address a wrong one is a 429."""

    def authenticate(self, request: Request) -> Any:
        """As the base class does. Raises AuthenticationFailed, Throttled."""
        try:
            return super().authenticate(request)
        except AuthenticationFailed:
            if not WRONG_TOKENS.spend(address_of(request)):
                raise Throttled(wait=WRONG_TOKENS.wait) from None
            raise
