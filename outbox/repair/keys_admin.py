"""Parked keys in the admin: operators release those that wait for a missing event."""

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from outbox.bounded import Bounded, many
from outbox.listings import ParkedKeyListing
from outbox.models import ParkCause
from outbox.operated import Asked, Operated, Shown, not_without_it
from outbox.readonly import ConsumerFilter, EventRows
from outbox.repair import keys
from outbox.repair.acts import Operator, Report
from outbox.repair.behind import NOTHING, behind, mark, marked, numbers


@admin.register(ParkedKeyListing)
class ParkedKeyAdmin(Operated[ParkedKeyListing], EventRows[ParkedKeyListing]):
    """Keys whose events wait; operators release those that wait for a missing event."""

    list_display = ("short_key", "topic", "consumer", "generation", "cause", "event", "parked_at")
    list_filter = (ConsumerFilter,)
    actions = ("release",)
    found_by = ("key", "event_id")
    search_help_text = "A whole key or event id"
    ordering = ("-parked_at", "-id")

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have keys go on without what is missing."""
        return self.may(request, "release_parkedkey")

    @admin.action(description="Release, without the missing events", permissions=["release"])
    def release(self, request: HttpRequest, queryset: QuerySet[ParkedKeyListing]) -> HttpResponse | None:
        """Give up what these keys wait for, for a reason."""
        found = list(queryset)
        known = behind(row.id for row in found)
        held = {row.id: known.get(row.id, NOTHING) for row in found}
        free = [row for row in found if row.cause != ParkCause.DEAD_LETTER]
        counts = [held[row.id].waiting for row in free]
        waiting = Bounded(sum(count.count for count in counts), any(count.more for count in counts))
        least = "at least " if waiting.more else ""
        consequence = (
            f"Releases {many(len(free), 'key')} without what is missing;"
            f" {least}{many(waiting.count, 'waiting event')} will then run, in order, up to the next gap."
        )
        if left := len(found) - len(free):
            consequence += f" {many(left, 'key')} held by a dead letter {'is' if left == 1 else 'are'} left."
        asked = Asked(
            "release",
            "Release parked keys",
            consequence,
            [["Consumer", "Topic", "Key", "Cause", "Missing", "Waiting"]]
            + [
                [row.consumer, row.topic, row.key, row.cause, numbers(one.missing), str(one.waiting)]
                for row, one in zip(found, held.values(), strict=True)
            ],
            not_without_it,
            needs_reason=True,
            shown=Shown(
                lambda rows: {row.id: mark(known.get(row.id, NOTHING).missing) for row in rows}, _release
            ),
        )
        return self.ask_and_act(request, queryset, asked)


def _release(row: ParkedKeyListing, operator: Operator, told: str) -> Report:
    try:
        shown = marked(told)
    except ValueError:
        raise BadRequest("The form names no numbers.") from None
    return keys.release(parked_id=row.id, operator=operator, shown=shown, to_the_end=False)
