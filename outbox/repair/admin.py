"""Dead letters in the admin: what operators look at and act on."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from outbox.item import decode_headers
from outbox.models import DeadLetter, LetterState
from outbox.operated import Asked, Given, Operated, Shown, not_without_it
from outbox.readonly import ConsumerFilter, event_link, line, line_of
from outbox.registry import get_consumer
from outbox.repair import letters
from outbox.repair.acts import Operator, Report, acts_on
from outbox.repair.correcting import violations
from outbox.repair.difference import difference
from outbox.repair.letters import waiting_behind
from outbox.repair.matching import Selection, extent
from outbox.shown import can_be_edited, headers_text, payload_text, whole_text


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
class DeadLetterAdmin(Operated[DeadLetter]):
    """What consumers could not process, and why; operators replay and discard what they have selected."""

    list_display = (
        "died_at",
        "consumer",
        "short_type",
        line_of("cause"),
        line_of("error"),
        "short_key",
        "attempts",
        "state",
    )
    list_filter = (StateFilter, ConsumerFilter)
    actions = ("replay", "replay_late", "dry_run", "correct", "discard")
    found_by = ("id", "event_id", "key", "fingerprint")
    search_help_text = "A whole id of the dead letter or its event, a key or a fingerprint"
    ordering = ("-died_at", "-id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("consumer", "generation", "attempts"),
                    "type",
                    ("cause", "died_at"),
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

    @admin.display(description="type")
    def short_type(self, letter: DeadLetter) -> SafeString:
        """The type, or that it could not be read."""
        return line(letter.type or "record")

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
    def waiting(self, letter: DeadLetter) -> str:
        """How many events of its key wait."""
        return str(waiting_behind(letter))

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

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have letters processed after all."""
        return self.may(request, "replay_deadletter")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether the user may give letters up."""
        return self.may(request, "discard_deadletter")

    @admin.action(description="Replay, with what waits behind", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Have the consumers process these after all."""
        return self._act(request, queryset, "replay", letters.replay)

    @admin.action(description="Replay late ones too, out of their order", permissions=["replay"])
    def replay_late(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Have the consumers process these, also where later events of their keys have been processed."""
        return self._act(request, queryset, "replay", partial(letters.replay, late=True), name="replay_late")

    @admin.action(description="Dry run: what a replay would do", permissions=["replay"])
    def dry_run(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Replay these, say what came of it, and take all of it back."""
        chosen = queryset.order_by("died_at", "id")
        asked = Asked(
            "dry_run",
            "Try a replay out",
            "Each is replayed with what waits behind it in a transaction of its own, which is taken back.",
            _table(chosen),
            _try_out,
            _said_of,
        )
        return self.ask_and_act(request, chosen, asked)

    @admin.action(description="Correct one, and replay it", permissions=["replay"])
    def correct(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Replay one with other data, checked against its contract and kept beside the original."""
        letter = queryset.first()
        if letter is not None and not can_be_edited(letter.payload):
            instead = f"manage.py replay --event {letter.event_id} --consumer {letter.consumer} --data FILE"
            self.message_user(request, f"It is too long to be edited here: {instead}", messages.WARNING)
            return None
        asked = Asked(
            "correct",
            "Correct and replay a dead letter",
            "This consumer alone sees the corrected data, which must fit the contract; the event stays as it"
            " is. What waits behind it will then run, in order, up to the next failure.",
            _table(queryset),
            not_without_it,
            _said_of,
            given=Given(
                "data",
                "Data",
                str.encode,
                _correct,
                initial="" if letter is None else whole_text(letter.payload),
                rows=14,
                preview=_difference,
            ),
            shown=Shown(_marks, not_without_it),
        )
        return self.ask_and_act(request, queryset, asked)

    @admin.action(description="Discard, and let the keys go on", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Give these up, for a reason."""
        return self._act(request, queryset, "discard", letters.discard)

    def _act(
        self,
        request: HttpRequest,
        queryset: QuerySet[DeadLetter],
        verb: str,
        act: Callable[..., Report],
        *,
        name: str = "",
    ) -> HttpResponse | None:
        """Oldest first: a page of the list at most."""
        chosen = queryset.order_by("died_at", "id")
        found = list(chosen)
        reach = extent(Selection(ids=tuple(letter.id for letter in found)))
        asked = Asked(
            name or verb,
            f"{verb.capitalize()} dead letters",
            reach.consequence(verb),
            _table(found),
            not_without_it,
            _said_of,
            needs_reason=verb == "discard",
            shown=Shown(
                _marks,
                lambda letter, operator, shown: act(
                    letter_id=letter.id, operator=operator, to_the_end=False, shown=shown
                ),
            ),
        )
        return self.ask_and_act(request, chosen, asked)


def _table(found: Iterable[DeadLetter]) -> list[list[str]]:
    rows = [[one.consumer, one.type or "record", one.key or "none", one.error] for one in found]
    return [["Consumer", "Type", "Key", "Error"], *rows]


def _said_of(letter: DeadLetter) -> str:
    return f"{letter.consumer}, {letter.key or 'no key'}"


def _marks(found: list[DeadLetter]) -> dict[Any, str]:
    return {letter.id: letters.mark(letter) for letter in found}


def _try_out(letter: DeadLetter, operator: Operator) -> str:
    report = letters.replay(letter_id=letter.id, operator=operator, dry_run=True)
    return f"nothing was kept. {report.detail}"


def _difference(letter: DeadLetter, data: bytes) -> list[str]:
    """What is other than in the event, line by line. Raises ValueError for what does not fit its contract."""
    if wrong := violations(letter, data, consumer=get_consumer(letter.consumer)):
        raise ValueError(" ".join(f"{one.field}: {one.said}" if one.field else one.said for one in wrong))
    lines = difference(whole_text(letter.payload), whole_text(data))
    if lines is None:
        return ["It is too long to be compared."]
    if not any(line.mark for line in lines):
        return ["It is the data as it came."]
    return [f"{line.mark or ' '}{line.text}" for line in lines]


def _correct(letter: DeadLetter, operator: Operator, data: bytes, shown: str) -> Report:
    return letters.replay(
        letter_id=letter.id, operator=operator, data=data, late=letter.is_late, to_the_end=False, shown=shown
    )
