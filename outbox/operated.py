"""Lists of the admin whose rows operators act on: asked first, said in numbers, written down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from outbox.errors import OutboxError
from outbox.operating import may
from outbox.readonly import ReadOnly
from outbox.repair.acts import Operator, Report, Result, Via

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Given:
    """What an act is given besides a reason, for one row.

    read     makes a value of the text; raises ValueError, whose words are shown
    do       acts on the row with it, and what of the row was shown, where something had to be
    preview  what that would do, in lines, which are shown before it is done; None where nothing can be said
    rows     how many lines of text there is room for
    """

    name: str
    label: str
    read: Callable[[str], Any]
    do: Callable[..., Report | str]
    initial: str = ""
    rows: int = 1
    preview: Callable[[Any, Any], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page tells of its rows on which an act depends: it is done where that is still so.

    now  as it is, by the rows' ids, in text
    do   acts on the row if it is as it was shown; raises OutboxError when it is not. Where something is
         given, what does the act with that is told of it instead
    """

    now: Callable[[list[Any]], dict[Any, str]]
    do: Callable[[Any, Operator, str], Report | str]


@dataclass(frozen=True, slots=True)
class Asked:
    """An act before it is done: what is asked, about which rows, and how each is acted on.

    verb         what the button says; `name` is the action's own
    consequence  what it does, in numbers
    table        what is known of each row, the headings first
    do           acts on a row in the operator's name; what came of it
    told         how the row is spoken of in the answer
    given        what else it takes; it is then done to one row alone
    shown        what of the rows has to be as it was shown
    """

    name: str
    verb: str
    consequence: str
    table: list[list[str]]
    do: Callable[[Any, Operator], Report | str]
    told: Callable[[Any], str] = field(default=str)
    needs_reason: bool = False
    given: Given | None = None
    shown: Shown | None = None


def not_without_it(row: Any, operator: Operator, *shown: str) -> str:
    """In the place of `do` where an act needs what is given, or was shown."""
    raise AssertionError("asked for before it was done")


class Operated(ReadOnly[M]):
    """Rows to act on, by those whom OUTBOX["MAY_OPERATE"] lets act and who hold the act's own permission."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The list, or an act on it. Raises PermissionDenied for an act that this user is not offered."""
        asked = {name for name in request.POST.getlist("action") if name}
        if not asked <= set(self.get_actions(request)):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Both: an operator by the project's own rule, and the permission to do this very act."""
        return may(request.user, permission)

    def ask_and_act(self, request: HttpRequest, rows: QuerySet[Any], asked: Asked) -> HttpResponse | None:
        """Ask, then act on each row and say what came of it, also of rows that have gone meanwhile."""
        if asked.given is not None and rows.count() != 1:
            self.message_user(request, "Choose one: this is done to one at a time.", messages.WARNING)
            return None
        reason = request.POST.get("reason", "").strip()
        confirmed = "confirmed" in request.POST and _was_shown(request, rows, asked)
        text = request.POST.get("given", "" if asked.given is None else asked.given.initial)
        do: Callable[..., Report | str] = asked.do if asked.shown is None else asked.shown.do
        error, preview = "", list[str]()
        if asked.given is not None and confirmed:
            try:
                do, preview = self._with(asked.given, text, rows)
            except (ValueError, OutboxError) as refusal:
                error = str(refusal)
        unseen = bool(preview) and request.POST.get("shown", "").splitlines() != preview
        if not confirmed or error or unseen or (asked.needs_reason and not reason):
            page = {
                **self.admin_site.each_context(request),
                "opts": self.model._meta,
                "title": asked.verb,
                "asked": asked,
                "headings": asked.table[0],
                "rows": asked.table[1:],
                "chosen": [row.pk for row in rows],
                "told": {} if asked.shown is None else asked.shown.now(list(rows)),
                "missing": confirmed and not error and not unseen and asked.needs_reason and not reason,
                "text": text,
                "reason": reason,
                "error": error,
                "preview": preview,
                "looks_first": asked.given is not None and asked.given.preview is not None and not preview,
                "shown": "\n".join(preview),
            }
            return render(request, "admin/outbox/act.html", page)
        operator = Operator(request.user.get_username(), reason, Via.ADMIN)
        acted = 0
        for row in rows:
            acted += 1
            try:
                shown = [] if asked.shown is None else [request.POST[f"told-{row.pk}"]]
                level, came = _told(do(row, operator, *shown))
            except OutboxError as error:
                level, came = messages.WARNING, str(error)
            self.message_user(request, f"{asked.told(row)}: {came}", level)
        gone = len(request.POST.getlist(ACTION_CHECKBOX_NAME)) - acted
        if gone > 0:
            settled = f"{gone} of those that were selected had been dealt with by others, or are gone."
            self.message_user(request, settled, messages.WARNING)
        return None

    @staticmethod
    def _with(given: Given, text: str, rows: QuerySet[Any]) -> tuple[Callable[..., Report | str], list[str]]:
        """The act with what was given, and what it would do."""
        value = given.read(text)
        preview = given.preview(rows.get(), value) if given.preview is not None else []
        return lambda row, operator, *shown: given.do(row, operator, value, *shown), preview


def _was_shown(request: HttpRequest, rows: QuerySet[Any], asked: Asked) -> bool:
    """Whether the page that was sent told of each of the rows what it has to."""
    return asked.shown is None or all(f"told-{row.pk}" in request.POST for row in rows)


def _told(came: Report | str) -> tuple[int, str]:
    """How loud it is said, and what."""
    if isinstance(came, str):
        return messages.SUCCESS, came
    if came.error:
        return messages.ERROR, came.detail
    return messages.WARNING if came.result is Result.NOTHING else messages.SUCCESS, came.detail
