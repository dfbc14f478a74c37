"""The payments, in pages by id: stable however many come in meanwhile, its filters in the address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import User
from contracts.money import CODES
from dashboard.commands import may_act
from dashboard.following import followed_by
from dashboard.forms import PaymentForm, merchant_field
from dashboard.views import signed_in
from payments.models import Payment, Status
from payments.selectors import payments_seen_by

PAGE_SIZE = 50
ANY = ("", "any")


class PaymentsFilter(forms.Form):
    """What the address may ask for; `before` and `after` are the ids between which a page lies."""

    status = forms.ChoiceField(required=False, choices=[ANY, *Status.choices])
    currency = forms.ChoiceField(required=False, choices=[ANY, *((code, code) for code in CODES)])
    customer = forms.CharField(required=False, max_length=100)
    merchant = forms.Field(required=False)
    before = forms.UUIDField(required=False)
    after = forms.UUIDField(required=False)

    def __init__(self, data: Mapping[str, Any], *, user: User) -> None:
        # Its labels hold their fields; the ids are those of the form beside it.
        super().__init__(data, auto_id=False)
        if user.sees_merchant is not None:
            del self.fields["merchant"]
            return
        self.fields["merchant"] = merchant_field(required=False)

    @property
    def asked(self) -> dict[str, str]:
        """The filters that are set, as the address says them."""
        names = ("status", "currency", "customer", "merchant")
        return {name: self.cleaned_data[name] for name in names if self.cleaned_data.get(name)}


@dataclass(frozen=True, slots=True)
class Page:
    """Payments, the latest first, and the addresses of the pages beside it; empty where there is none."""

    payments: list[Payment]
    newer: str
    older: str


@login_required
@require_GET
def payment_list(request: HttpRequest) -> HttpResponse:
    """The table of payments. A filter that means nothing is said to, and nothing is shown."""
    user = signed_in(request)
    asked = PaymentsFilter(request.GET, user=user)
    page = _page(user, asked) if asked.is_valid() else Page([], "", "")
    sees_all = user.sees_merchant is None
    context = {
        "page": page,
        "filter": asked,
        "filtered": asked.is_valid() and bool(asked.asked),
        "merchants": _names(page.payments) if sees_all else {},
        "sees_all": sees_all,
        "may_pay": may_act(user),
        "form": PaymentForm(user=user),
        "following": followed_by(request, merchant_id=user.sees_merchant),
        "looks": sees_all,
    }
    return render(request, "dashboard/payments.html", context, status=200 if asked.is_valid() else 400)


def _page(user: User, asked: PaymentsFilter) -> Page:
    payments = payments_seen_by(merchant_id=user.sees_merchant)
    names = {"status": "status", "currency": "currency", "customer": "customer_id", "merchant": "merchant_id"}
    payments = payments.filter(**{names[name]: value for name, value in asked.asked.items()})
    before, after = asked.cleaned_data["before"], asked.cleaned_data["after"]
    if after:
        # The page just above an id: read upwards, shown downwards.
        found = list(payments.filter(id__gt=after).order_by("id")[: PAGE_SIZE + 1])
        more_newer, more_older = len(found) > PAGE_SIZE, True
        shown = found[:PAGE_SIZE][::-1]
    else:
        found = list(
            (payments.filter(id__lt=before) if before else payments).order_by("-id")[: PAGE_SIZE + 1]
        )
        more_newer, more_older = bool(before), len(found) > PAGE_SIZE
        shown = found[:PAGE_SIZE]
    if not shown:
        return Page([], "", "")
    return Page(
        shown,
        newer=_address(asked, after=shown[0].id) if more_newer else "",
        older=_address(asked, before=shown[-1].id) if more_older else "",
    )


def _address(asked: PaymentsFilter, **place: UUID) -> str:
    return f"?{urlencode({**asked.asked, **place})}"


def _names(payments: list[Payment]) -> dict[UUID, str]:
    merchants = User.objects.filter(id__in={payment.merchant_id for payment in payments})
    return dict(merchants.values_list("id", "username"))
