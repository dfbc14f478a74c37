"""What operators look at and act on in the admin: dead letters, parked keys, and what was done."""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from outbox.config import config
from outbox.errors import OutboxError
from outbox.item import decode_headers
from outbox.listings import ParkedKeyListing
from outbox.models import DeadLetter, LetterState
from outbox.readonly import ConsumerFilter, EventRows, LatelyFilter, ListingRows, ReadOnly, event_link
from outbox.repair import letters
from outbox.repair.acts import Act, Operator, Report, Via, acts_on
from outbox.repair.letters import waiting_behind
from outbox.shown import headers_text, payload_text


class StateFilter(admin.SimpleListFilter):
    """Open ones, unless others are asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Beside the open ones."""
        return [("replayed", "replayed"), ("discarded", "discarded"), ("all", "all")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The open ones first: they are shown when nothing is chosen."""
        first, *others = super().choices(changelist)
        yield {**first, "display": "open"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Letters in that state."""
        state = self.value() or LetterState.OPEN
        return queryset if state == "all" else queryset.filter(state=state)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly[DeadLetter]):
    """What consumers could not process, and why; operators replay and discard what they have selected."""

    list_display = (
        "id",
        "consumer",
        "generation",
        "type",
        "cause",
        "error_line",
        "attempts",
        "key",
        "died_at",
        "state",
    )
    list_filter = (StateFilter, ConsumerFilter)
    actions = ("replay", "discard")
    found_by = ("id", "event_id", "key", "fingerprint")
    search_help_text = "A whole id of the dead letter or its event, a key or a fingerprint"
    ordering = ("-died_at",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("consumer", "generation", "type"),
                    ("cause", "attempts", "died_at"),
                    ("state", "settled_at", "waiting"),
                    "shown_error",
                    "event",
                )
            },
        ),
        ("What was done", {"fields": ("acts",)}),
        ("Data", {"fields": ("data", "corrected")}),
        ("Headers", {"fields": ("shown_headers",)}),
        ("Record", {"fields": (("topic", "partition", "offset"), ("key", "number", "occurred_at"))}),
        ("Traceback", {"fields": ("shown_traceback", "fingerprint")}),
    )
    readonly_fields = (
        "waiting",
        "acts",
        "corrected",
        "shown_error",
        "event",
        "data",
        "shown_headers",
        "shown_traceback",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Without what only one dead letter's page shows."""
        queryset: QuerySet[DeadLetter] = super().get_queryset(request)
        return queryset.defer("payload", "headers", "raw_key", "traceback", "correction")

    @admin.display(description="error")
    def error_line(self, letter: DeadLetter) -> str:
        """The beginning of what went wrong."""
        first = letter.error.partition("\n")[0]
        return first if len(first) <= 100 else f"{first[:99]}…"

    @admin.display(description="error")
    def shown_error(self, letter: DeadLetter) -> SafeString:
        """All of what went wrong."""
        return render_to_string("admin/outbox/text.html", {"text": letter.error})

    @admin.display(description="event")
    def event(self, letter: DeadLetter) -> SafeString:
        """The event's page; foreign records have none."""
        return event_link(letter.event_id)

    @admin.display(description="data")
    def data(self, letter: DeadLetter) -> SafeString:
        """The record's value, as text."""
        return render_to_string("admin/outbox/text.html", {"text": payload_text(letter.payload)})

    @admin.display(description="headers")
    def shown_headers(self, letter: DeadLetter) -> SafeString:
        """As they were read."""
        return render_to_string(
            "admin/outbox/pairs.html", {"pairs": headers_text(decode_headers(letter.headers))}
        )

    @admin.display(description="traceback")
    def shown_traceback(self, letter: DeadLetter) -> SafeString:
        """Where it went wrong."""
        return render_to_string("admin/outbox/text.html", {"text": letter.traceback})

    @admin.display(description="waiting behind it")
    def waiting(self, letter: DeadLetter) -> int:
        """How many events of its key wait."""
        return waiting_behind(letter)

    @admin.display(description="acts")
    def acts(self, letter: DeadLetter) -> SafeString:
        """Who did what about it, and what came of it."""
        acts = acts_on(letter, using=letter._state.db or DEFAULT_DB_ALIAS)
        return render_to_string("admin/outbox/acts.html", {"acts": acts})

    @admin.display(description="corrected data")
    def corrected(self, letter: DeadLetter) -> SafeString | str:
        """With which it was replayed."""
        if letter.correction is None:
            return "none"
        return render_to_string("admin/outbox/text.html", {"text": payload_text(letter.correction)})

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may act, as OUTBOX["MAY_OPERATE"] says."""
        return bool(import_string(config().may_operate)(request.user))

    @admin.action(description="Replay, with what waits behind", permissions=["operate"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Have the consumers process these after all."""
        return self._act(request, queryset, "replay", letters.replay)

    @admin.action(description="Discard, and let the keys go on", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Give these up, for a reason."""
        return self._act(request, queryset, "discard", letters.discard)

    def _act(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], verb: str, act: Callable[..., Report]
    ) -> HttpResponse | None:
        """Ask why, then act on each, oldest first, and say what came of it."""
        chosen = queryset.order_by("died_at", "id")
        reason = request.POST.get("reason", "").strip()
        if "confirmed" not in request.POST or (verb == "discard" and not reason):
            return render(
                request,
                "admin/outbox/act.html",
                {
                    **self.admin_site.each_context(request),
                    "opts": self.model._meta,
                    "title": f"{verb.capitalize()} dead letters",
                    "verb": verb,
                    "letters": chosen,
                    "required": verb == "discard",
                    "missing": "confirmed" in request.POST,
                },
            )
        operator = Operator(request.user.get_username(), reason, Via.ADMIN)
        for letter in chosen:
            try:
                report = act(letter_id=letter.id, operator=operator, to_the_end=False)
                level = messages.ERROR if report.error else messages.SUCCESS
                told = report.detail
            except OutboxError as error:
                level, told = messages.WARNING, str(error)
            self.message_user(request, f"{letter.consumer}, {letter.key or 'no key'}: {told}", level)
        return None


@admin.register(ParkedKeyListing)
class ParkedKeyAdmin(ListingRows[ParkedKeyListing]):
    """Keys whose events wait."""

    list_display = ("key", "topic", "consumer", "generation", "cause", "event", "parked_at")
    list_filter = (ConsumerFilter,)
    found_by = ("key", "event_id")
    search_help_text = "A whole key or event id"
    ordering = ("-parked_at",)


@admin.register(Act)
class ActAdmin(EventRows[Act]):
    """What was done about what consumers could not process."""

    list_display = ("at", "who", "via", "act", "why", "consumer", "key", "event", "result", "ran", "waiting")
    list_filter = (LatelyFilter,)
    found_by = ("letter_id", "event_id", "key")
    search_help_text = "A whole id of a dead letter or an event, or a key"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Act]:
        """Without corrected data, which the dead letter's page shows."""
        queryset: QuerySet[Act] = super().get_queryset(request).defer("correction")
        return queryset

    @admin.display(description="event")
    def event(self, row: Any) -> SafeString:
        """The event's page; a key released meanwhile names none."""
        return event_link(row.event_id) if row.event_id else SafeString("none")
