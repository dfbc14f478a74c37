"""Loyalty accounts over REST."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import signed_in
from loyalty import errors, selectors
from loyalty.models import Account
from loyalty.serializers import AccountOutput

SHOWN_ENTRIES = 200


class AccountDetail(APIView):
    """The account of one customer with one merchant."""

    @extend_schema(
        summary="A customer's loyalty account",
        parameters=[
            OpenApiParameter("customer_id", str, OpenApiParameter.PATH),
            OpenApiParameter("merchant", UUID, description="For staff: whose customer it is."),
        ],
        responses=AccountOutput,
    )
    def get(self, request: Request, customer_id: str) -> Response:
        """The balance and the latest entries. Staff name the merchant where several know the customer."""
        try:
            account = _account_seen_by(request, customer_id)
        except errors.AccountNotFound as error:
            raise NotFound(str(error)) from error
        body = {
            "customer_id": account.customer_id,
            "merchant_id": account.merchant_id,
            "balance": selectors.balance_of(account=account),
            "entries": selectors.latest_entries(account=account, limit=SHOWN_ENTRIES),
        }
        return Response(AccountOutput(body).data)


def _account_seen_by(request: Request, customer_id: str) -> Account:
    own, asked = signed_in(request).sees_merchant, _merchant_asked_for(request)
    if own is not None:
        if asked not in (None, own):
            raise errors.AccountNotFound()
        return selectors.get_account(merchant_id=own, customer_id=customer_id)
    if asked is not None:
        return selectors.get_account(merchant_id=asked, customer_id=customer_id)
    accounts = selectors.accounts_of_customer(customer_id=customer_id, limit=2)
    if not accounts:
        raise errors.AccountNotFound()
    if len(accounts) > 1:
        raise ValidationError(
            {"merchant": "Several merchants know this customer: add ?merchant= and an id."},
            code="required",
        )
    return accounts[0]


def _merchant_asked_for(request: Request) -> UUID | None:
    text = request.query_params.get("merchant")
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise ValidationError({"merchant": "Not the id of a merchant (a UUID)."}, code="invalid") from None
