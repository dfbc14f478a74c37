"""The record of what operators did in the admin, and their acts on many dead letters at once."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from outbox.config import config
from outbox.errors import RepairRefused
from outbox.operated import Asked, Operated
from outbox.readonly import ConsumerFilter, EventRows, LatelyFilter, event_link, line_of, shortened
from outbox.repair import jobs
from outbox.repair.acts import ACTS, Act, Operator
from outbox.repair.jobs import PERMISSIONS, RepairJob
from outbox.shown import payload_text


@admin.register(RepairJob)
class RepairJobAdmin(Operated[RepairJob]):
    """Acts on many dead letters, which workers carry out; operators stop them."""

    list_display = (
        *("asked_at", "who", "act", line_of("why"), "state", "progress", "ran"),
        *(line_of("trouble"), "worked_at"),
    )
    list_filter = (LatelyFilter,)
    actions = ("stop",)
    found_by = ("id",)
    search_help_text = "A whole id of a job"
    ordering = ("-id",)
    readonly_fields = ("progress",)

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whoever may begin one; which of them is asked for each."""
        return any(self.may(request, permission) for permission in PERMISSIONS.values())

    @admin.display(description="letters")
    def progress(self, job: RepairJob) -> str:
        """How many have been acted on, of how many, and what came of them."""
        results = ", ".join(f"{many:,} {result}" for result, many in job.came_of_it)
        return f"{job.done:,} of {job.total:,}{'+' if job.more else ''}{': ' if results else ''}{results}"

    @admin.action(description="Stop, after the letter in hand", permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: QuerySet[RepairJob]) -> HttpResponse | None:
        """Have these do nothing more. Whoever may begin one of its kind may stop it."""

        def stop_one(job: RepairJob, operator: Operator) -> str:
            if not self.may(request, PERMISSIONS[job.act]):
                raise RepairRefused(f"To stop it takes the permission {PERMISSIONS[job.act]}.")
            return f"it is {jobs.stop(job_id=job.id, operator=operator).state}."

        asked = Asked(
            "stop",
            "Stop jobs",
            "What they have done stays done; the letters that they have not come to stay open.",
            [["Job", "Letters"]] + [[str(job), self.progress(job)] for job in queryset],
            stop_one,
        )
        return self.ask_and_act(request, queryset, asked)


class ActFilter(admin.SimpleListFilter):
    """One kind of act."""

    title = "act"
    parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """All that there are."""
        return [(name, name) for name in (*ACTS, *config().commands)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those acts."""
        return queryset.filter(act=self.value()) if self.value() else queryset


@admin.register(Act)
class ActAdmin(EventRows[Act]):
    """Who did what, why, and what came of it."""

    list_display = (
        *("at", "who", "act", line_of("why"), "result", "consumer", "short_key"),
        *(line_of("detail"), "event", "letter", "job", "via"),
    )
    list_display_links = ("at",)
    list_filter = (ActFilter, ConsumerFilter, LatelyFilter)
    found_by = ("who", "letter_id", "event_id", "key", "job_id")
    search_help_text = "A whole user name, id of a dead letter, an event or a job, or a key"
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": (("at", "who", "via"), ("act", "result"), "why", "detail")}),
        ("About", {"fields": (("consumer", "generation"), ("topic", "key"), "event", "letter", "job")}),
        ("What came of it", {"fields": (("ran", "waiting"), "shown_error", "corrected")}),
    )
    readonly_fields = ("event", "letter", "job", "shown_error", "corrected")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Act]:
        """Without corrected data, which an act's own page shows."""
        queryset: QuerySet[Act] = super().get_queryset(request).defer("correction")
        return queryset

    @admin.display(description="event")
    def event(self, row: Any) -> SafeString:
        """The event's page; a key released meanwhile names none."""
        return event_link(row.event_id, short=True) if row.event_id else SafeString("none")

    @admin.display(description="dead letter")
    def letter(self, act: Act) -> SafeString:
        """The dead letter's page."""
        if act.letter_id is None:
            return SafeString("none")
        address = reverse("admin:outbox_deadletter_change", args=[act.letter_id])
        return format_html('<a href="{}">{}</a>', address, shortened(act.letter_id))

    @admin.display(description="job")
    def job(self, act: Act) -> SafeString:
        """The page of the job that it was part of."""
        if act.job_id is None:
            return SafeString("none")
        address = reverse("admin:outbox_repairjob_change", args=[act.job_id])
        return format_html('<a href="{}">{}</a>', address, shortened(act.job_id))

    @admin.display(description="error")
    def shown_error(self, act: Act) -> SafeString:
        """Why it died again, or what stopped the events behind it."""
        return render_to_string("admin/outbox/text.html", {"text": act.error or "none"})

    @admin.display(description="corrected data")
    def corrected(self, act: Act) -> SafeString:
        """What was tried in the place of the event's own."""
        text = "none" if act.correction is None else payload_text(act.correction)
        return render_to_string("admin/outbox/text.html", {"text": text})
