"""Loyalty accounts over REST."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
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
            OpenApiParameter(
                "before", UUID, description="The id of an entry: those older than it. `next` has it."
            ),
        ],
        responses=AccountOutput,
    )
    def get(self, request: Request, customer_id: str) -> Response:
        """The balance and the latest entries. Staff name the merchant where several know the customer.

        `next` is the address of the entries before these, as long as there are any.
        """
        before = _id_given(request, "before", "an entry")
        try:
            account = _account_seen_by(request, customer_id)
        except errors.AccountNotFound as error:
            raise NotFound(str(error)) from error
        entries = selectors.latest_entries(account=account, limit=SHOWN_ENTRIES + 1, before=before)
        shown = entries[:SHOWN_ENTRIES]
        body = {
            "customer_id": account.customer_id,
            "merchant_id": account.merchant_id,
            "balance": selectors.balance_of(account=account),
            "entries": shown,
            "next": _address_before(request, shown[-1].id) if len(entries) > len(shown) else None,
        }
        return Response(AccountOutput(body).data)


def _account_seen_by(request: Request, customer_id: str) -> Account:
    own, asked = signed_in(request).sees_merchant, _id_given(request, "merchant", "a merchant")
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


def _id_given(request: Request, name: str, whose: str) -> UUID | None:
    text = request.query_params.get(name)
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise ValidationError({name: f"Not the id of {whose} (a UUID)."}, code="invalid") from None


def _address_before(request: Request, entry_id: UUID) -> str:
    return replace_query_param(request.build_absolute_uri(), "before", str(entry_id))
