"""Alarms in the admin: what is wrong and was, and having nobody told of it for a while."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from outbox.alerts.alarms import Alarm
from outbox.alerts.silencing import LONGEST, silence
from outbox.operated import Asked, Given, Operated, not_without_it
from outbox.repair.acts import Operator


@admin.register(Alarm)
class AlarmAdmin(Operated[Alarm]):
    """The latest first; what is over is kept for 30 days."""

    list_display = (
        "since",
        "unknown_since",
        "cause",
        "subject",
        "severity",
        "said",
        "ended_at",
        "silenced_until",
        "silenced_by",
    )
    list_display_links = None
    actions = ("silence",)
    found_by = ("subject",)
    search_help_text = "A whole name of a consumer or a topic"
    ordering = ("-id",)

    def has_silence_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have nobody told of an alarm."""
        return self.may(request, "silence_alarm")

    @admin.action(description="Silence: nobody is told for some hours", permissions=["silence"])
    def silence(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> HttpResponse | None:
        """Have nobody told that one lasts."""
        asked = Asked(
            "silence",
            "Silence an alarm",
            "Nobody is told that it lasts. When it comes again after it was over, people are told.",
            [["Alarm", "Now"]] + [[str(alarm), alarm.said] for alarm in queryset],
            not_without_it,
            needs_reason=True,
            given=Given("hours", "For so many hours; 0 ends a silence", _hours, _silence, initial="4"),
        )
        return self.ask_and_act(request, queryset, asked)


def _hours(text: str) -> timedelta:
    try:
        duration = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        duration = timedelta(-1)
    if not timedelta(0) <= duration <= LONGEST:
        raise ValueError(f"Say a number of hours, up to {LONGEST.days * 24}.")
    return duration


def _silence(alarm: Any, operator: Operator, duration: timedelta) -> str:
    silenced = silence(alarm_id=alarm.id, duration=duration, operator=operator)
    if silenced.silenced_until is None:
        return "people are told of it."
    return f"nobody is told of it until {silenced.silenced_until:%Y-%m-%d %H:%M} UTC."
