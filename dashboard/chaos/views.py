"""The chaos panel: the demo's parts as they are, and what an operator does to them.

Outside a demo none of these addresses exists.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_safe

from accounts.models import User
from accounts.selectors import merchants
from dashboard.chaos import poison
from dashboard.chaos.channel import Away, ChannelError, NoAnswer, Refused, Verb, ask, in_demo
from dashboard.chaos.parts import shown_parts
from dashboard.live import LivePage, Regions, live_stream
from dashboard.operators import for_those_who_act, for_those_who_look, may_act, operator_of
from dashboard.posting import only_posted
from outbox.repair.acts import Result, write_down_command

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def only_in_demo(view: Callable[Concatenate[HttpRequest, P], R]) -> Callable[Concatenate[HttpRequest, P], R]:
    """404 for everybody where there is no demo."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not in_demo():
            raise Http404("Only a demo has this page.")
        return view(request, *args, **kwargs)

    return guarded


@only_in_demo
@require_GET
@for_those_who_look
def panel(request: HttpRequest) -> HttpResponse:
    """Every part, live, with what can be done to it."""
    return _panel(request)


@only_in_demo
@for_those_who_act()
@only_posted("chaos")
def act(request: HttpRequest) -> HttpResponse:
    """Do something to a part: `act` is a verb and a name. Goes on to `next`, an address of this site."""
    verb, _, name = request.POST.get("act", "").partition(" ")
    operator, told = operator_of(request), f"To {name}, a part of the demo."
    try:
        if verb not in set(Verb) - {Verb.LIST}:
            raise Refused("There is no such act.")
        with transaction.atomic():
            write_down_command(operator, verb, detail=told)
            ask(Verb(verb), name)
        logger.warning("%s did this to a part of the demo: %s %s", request.user.get_username(), verb, name)
    except Refused as refusal:
        return _panel(request, notice=str(refusal), status=HTTPStatus.CONFLICT)
    except Away as error:
        return _panel(request, notice=str(error), status=HTTPStatus.SERVICE_UNAVAILABLE)
    except NoAnswer as error:
        told += " No answer came: it may have been done, or be done yet."
        write_down_command(operator, verb, detail=told, result=Result.PENDING)
        return _panel(request, notice=str(error), status=HTTPStatus.SERVICE_UNAVAILABLE)
    return redirect(onward(request))


@only_in_demo
@for_those_who_act()
@only_posted("chaos")
def poison_one(request: HttpRequest) -> HttpResponse:
    """Poison an event of the first merchant's, and go on to `next`; else to the panel, which says of what."""
    merchant = merchants().first()
    if merchant is None:
        notice = "There is no merchant for whom a payment could be made."
        return _panel(request, notice=notice, status=HTTPStatus.CONFLICT)
    with transaction.atomic():
        poisoned = poison.poison_event(merchant_id=merchant.id)
        write_down_command(operator_of(request), "poison", event_id=poisoned.event_id)
    logger.warning("%s poisoned an event", request.user.get_username())
    return redirect(onward(request, otherwise=f"{reverse('chaos')}?poisoned={poisoned.payment_id}"))


def onward(request: HttpRequest, *, otherwise: str = "") -> str:
    """Where a form wants to go on to, if that is here; else the panel."""
    address = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(address, allowed_hosts={request.get_host()})
    return address if here else otherwise or reverse("chaos")


def _poisoned(request: HttpRequest) -> UUID | None:
    """The payment that the address says was poisoned, if it was."""
    try:
        payment_id = UUID(request.GET.get("poisoned", ""))
    except ValueError:
        return None
    return payment_id if poison.is_poisoned(payment_id) else None


def _panel(request: HttpRequest, *, notice: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    page = {
        "parts_html": _parts_html(acting=may_act(request.user)),
        "may_act": may_act(request.user),
        "notice": notice,
        "poisoned": _poisoned(request),
        "fault": poison.what_is_wrong(),
        "consumer": poison.CONSUMER,
    }
    return render(request, "dashboard/chaos/page.html", page, status=status)


def _parts_html(*, acting: bool) -> str:
    try:
        shown, away = shown_parts(ask(Verb.LIST)), ""
    except ChannelError as error:
        shown, away = [], str(error)
    return render_to_string("dashboard/chaos/parts.html", {"parts": shown, "may_act": acting, "away": away})


def _read(questions: Collection[bool]) -> Mapping[bool, Regions]:
    return {acting: {"parts": _parts_html(acting=acting)} for acting in questions}


live_panel: LivePage[bool] = LivePage("chaos", {"parts": _read})


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The parts, live."""
    if not in_demo():
        raise Http404("Only a demo has this page.")
    return await live_stream(request, live_panel, _question)


def _question(user: User) -> bool | None:
    return may_act(user)
