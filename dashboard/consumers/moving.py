"""Moving a consumer to another time: what that would do is shown, by partition, before it is asked for."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods

from analytics.slots import zone_named
from dashboard import remedies
from dashboard.consumers.acting import CONFLICT, UNPROCESSABLE
from dashboard.consumers.selectors import standings
from dashboard.consumers.views import declared
from dashboard.forms import ReasonForm
from dashboard.operators import for_those_who_act, operator_of
from dashboard.volumes_page import zone_of
from outbox import seeking
from outbox.errors import OutboxError, SeekRefused
from outbox.kafka import BrokerError
from outbox.registry import Consumer
from outbox.repair.acts import Operator
from outbox.seeking import MOST_SKIPPED, PREVIEW_SECONDS, Move, moment_to_seek

UNAVAILABLE = 503


class ToForm(forms.Form):
    """To which moment: a time of the viewer's zone, or one with its offset from UTC."""

    to = forms.CharField(max_length=40)

    def __init__(self, data: QueryDict, *, zone: str) -> None:
        super().__init__(data)
        self._zone = zone

    def clean_to(self) -> datetime:
        """In UTC. Not in the future: what is yet to come would be skipped unseen."""
        try:
            moment = parse_datetime(self.cleaned_data["to"])
        except ValueError:
            moment = None
        if moment is None:
            raise forms.ValidationError("A time is like 2026-11-26T14:00:00.")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone_named(self._zone))
        try:
            return moment_to_seek(moment.astimezone(UTC))
        except OverflowError:
            raise forms.ValidationError("That is further away than clocks go.") from None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class MoveForm(ReasonForm):
    """That it is meant: why, and how many events may be skipped, as the preview said."""

    skipped = forms.IntegerField(min_value=0)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a move would do, in all partitions together."""

    to: datetime
    moves: list[Move]

    @property
    def again(self) -> int:
        """Records that will come again."""
        return sum(move.again for move in self.moves)

    @property
    def known(self) -> int:
        """Those of them that have been processed, and will be dropped."""
        return sum(move.known for move in self.moves)

    @property
    def forgotten(self) -> int:
        """Those of them that are older than what the inbox still knows: with any it is refused."""
        return sum(move.forgotten for move in self.moves)

    @property
    def fresh(self) -> int:
        """Those of them that the inbox does not know."""
        return self.again - self.known

    @property
    def skipped(self) -> int:
        """Records that will never be processed."""
        return sum(move.skipped for move in self.moves)

    @property
    def too_many(self) -> bool:
        """Whether that is for a terminal."""
        return self.skipped > MOST_SKIPPED

    @property
    def moves_nothing(self) -> bool:
        """Whether it stands there already."""
        return not (self.again or self.skipped)


@require_http_methods(["GET", "POST"])
@for_those_who_act("steer_consumer")
def seek(request: HttpRequest, name: str) -> HttpResponse:
    """A time is asked for, then shown what it means, then moved to.

    422 for a time that is none, and without a reason; 409 where it is refused, or means something else by
    now than what was shown; 503 when Kafka does not answer.
    """
    consumer = declared(name)
    given = request.POST if request.method == "POST" else request.GET
    if "to" not in given:
        return _page(request, consumer)
    form = ToForm(given, zone=zone_of(request))
    if not form.is_valid():
        return _page(request, consumer, error=str(form.errors["to"][0]), status=UNPROCESSABLE)
    try:
        to = form.cleaned_data["to"]
        preview = Preview(to, seeking.preview_within(consumer, to=to, seconds=PREVIEW_SECONDS))
    except BrokerError as error:
        said = f"Kafka does not answer, so nobody can say what it would do: {error}. Nothing was changed."
        return _page(request, consumer, error=said, status=UNAVAILABLE)
    except SeekRefused as refusal:
        return _page(request, consumer, error=str(refusal), status=UNAVAILABLE)
    if request.method != "POST":
        return _page(request, consumer, preview)
    if preview.moves_nothing:
        return redirect("consumer", name=name)
    return _move(request, consumer, preview)


def _move(request: HttpRequest, consumer: Consumer, preview: Preview) -> HttpResponse:
    form = MoveForm(request.POST)
    if not form.is_valid():
        said = (
            "Say why, for those who come after." if "reason" in form.errors else "Look at the preview first."
        )
        return _page(request, consumer, preview, error=said, status=UNPROCESSABLE)
    if preview.too_many or preview.skipped > form.cleaned_data["skipped"]:
        said = "" if preview.too_many else "More would be skipped by now than was shown: look again."
        return _page(request, consumer, preview, error=said, status=CONFLICT)
    operator = operator_of(request, reason=form.cleaned_data["reason"])
    try:
        _seek(consumer, preview, operator)
    except BrokerError as error:
        said = f"Kafka does not answer: {error}. The same move, asked for again, does the rest."
        return _page(request, consumer, preview, error=said, status=UNAVAILABLE)
    except OutboxError as error:
        return _page(request, consumer, preview, error=str(error), status=CONFLICT)
    return redirect("consumer", name=consumer.name)


def _seek(consumer: Consumer, preview: Preview, operator: Operator) -> None:
    try:
        seeking.seek(
            consumer,
            to=preview.to,
            by=operator.name,
            # Without a reason to skip nothing is skipped, whatever has come meanwhile.
            skip=operator.reason if preview.skipped else "",
            reason=operator.reason,
            via=operator.via,
            at_most=preview.skipped,
        )
    except SeekRefused:
        # Of two who ask at once, one may find it moved.
        if not Preview(preview.to, seeking.preview(consumer, to=preview.to)).moves_nothing:
            raise


def _page(
    request: HttpRequest,
    consumer: Consumer,
    preview: Preview | None = None,
    *,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    [standing] = standings([consumer])
    given = request.POST if request.method == "POST" else request.GET
    page = {
        "consumer": consumer,
        "standing": standing,
        "preview": preview,
        "most_skipped": MOST_SKIPPED,
        "panel": remedies.breaking(f"{consumer.name}-1"),
        "to": given.get("to", ""),
        "zone": zone_of(request),
        "reason": request.POST.get("reason", ""),
        "error": error,
    }
    return render(request, "dashboard/consumers/seek.html", page, status=status)
