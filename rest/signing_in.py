"""Signing in, with wrong passwords bounded for each address: guessing is not worth while.

Wrong tokens are paid for like every other request: nobody guesses 160 bits.
"""

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from rest.throttling import Budget, address_of

WRONG_PASSWORDS = Budget(kind="wrong-password", per_second=1 / 5, burst=30)


class PasswordBackend(ModelBackend):
    """Django's, for the dashboard and the admin. Who has guessed too often is not even listened to."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The user, or None. Raises ValidationError, which forms show as theirs, when it was too often.

        A guess is paid for before it is looked at, and a right one is given back: of many at the same time no
        more are tried than one after another.
        """
        if request is None or password is None:
            return super().authenticate(request, username, password, **kwargs)
        address = address_of(request)
        if not WRONG_PASSWORDS.spend(address):
            raise ValidationError(
                f"Too many wrong passwords from your address: try again in {WRONG_PASSWORDS.wait} seconds."
            )
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            WRONG_PASSWORDS.give_back(address)
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
