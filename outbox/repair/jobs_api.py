"""Acts on many dead letters over REST: begun in one call, done by workers, followed and stopped by others."""

from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from outbox import examples
from outbox.errors import MoreThanShown, NoSuchJob, NothingSelected
from outbox.operating import OperatorsAct, may, once
from outbox.repair import jobs
from outbox.repair.acts import Operator, Via
from outbox.repair.api import StateForbids
from outbox.repair.jobs import DRY_RUN, MOST_FAILURES, OTHERS, PERMISSIONS, JobState, RepairJob
from outbox.repair.matching import Selection, extent
from outbox.repair.serializers import LONGEST_REASON, ReasonField, StrictInput

MOST_IDS = 1_000
_MEANT = ("consumer", "type", "topic", "key", "cause", "fingerprint")


class SelectionInput(StrictInput):
    """Which open dead letters are meant: those that fit all that is given."""

    consumer = serializers.CharField(required=False, trim_whitespace=False)
    type = serializers.CharField(required=False, trim_whitespace=False)
    topic = serializers.CharField(required=False, trim_whitespace=False)
    key = serializers.CharField(required=False, trim_whitespace=False)
    cause = serializers.CharField(required=False, help_text="The error's type.", trim_whitespace=False)
    fingerprint = serializers.CharField(required=False, trim_whitespace=False)
    ids = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=MOST_IDS)
    since = serializers.DateTimeField(required=False, help_text="Died at this time or later.")
    until = serializers.DateTimeField(required=False, help_text="Died before this time.")
    everything = serializers.BooleanField(required=False, help_text="All, where nothing else is given.")
    rate = serializers.FloatField(
        required=False, min_value=0.01, max_value=10_000, help_text="Letters a second, at most."
    )
    preview = serializers.BooleanField(
        required=False, help_text="Count what matches, and say what would follow: nothing is done."
    )
    shown = serializers.IntegerField(
        required=False, min_value=0, help_text="How many you were told of: 409 when more match by now."
    )

    def selection(self) -> Selection:
        """What is meant."""
        given = self.validated_data
        texts = {name: given[name] for name in _MEANT if name in given}
        ids = tuple(given["ids"]) if "ids" in given else None
        times = {name: given[name] for name in ("since", "until") if name in given}
        return Selection(**texts, **times, ids=ids, everything=given.get("everything", False))


@extend_schema_serializer(
    examples=[
        OpenApiExample("Of one cause, slowly", {"consumer": "orders", "cause": "KeyError", "rate": 10}),
        OpenApiExample("What would follow", {"everything": True, "preview": True}),
        OpenApiExample("What would come of each", {"consumer": "orders", "dry_run": True}),
    ]
)
class ReplayManyInput(SelectionInput):
    """Which, how fast, and why if there is something to say."""

    late = serializers.BooleanField(
        required=False, help_text="Also those whose place in their key has been passed."
    )
    dry_run = serializers.BooleanField(
        required=False, help_text="Replay each and take all of it back: the job says what would come of it."
    )
    reason = ReasonField(required=False, max_length=LONGEST_REASON, help_text="Kept with each act.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Either is asked for, or none."""
        if attrs.get("preview") and attrs.get("dry_run"):
            raise ValidationError({"preview": "A preview counts, a dry run tries each: ask for one of them."})
        return attrs


@extend_schema_serializer(
    examples=[OpenApiExample("Of one key", {"key": "k-17", "reason": "the customer has left"})]
)
class DiscardManyInput(SelectionInput):
    """Which, how fast, and why."""

    reason = ReasonField(max_length=LONGEST_REASON, help_text="Kept with each act.")


@extend_schema_serializer(examples=[OpenApiExample("What would follow", examples.EXTENT)])
class ExtentOutput(serializers.Serializer[Any]):
    """What an act on all that match is about."""

    letters = serializers.IntegerField()
    keys = serializers.IntegerField(help_text="How many keys they hold.")
    waiting = serializers.IntegerField(help_text="How many events wait behind those keys.")
    more = serializers.BooleanField(help_text="That there are more than was counted.")
    consequence = serializers.CharField()


class FailureOutput(serializers.Serializer[Any]):
    """What a dry run found: so many letters would die again, or an event behind them, of one fingerprint."""

    fingerprint = serializers.CharField()
    error = serializers.CharField(help_text="Of one of them.")
    letters = serializers.IntegerField()


@extend_schema_serializer(
    examples=[OpenApiExample("A job under way", examples.JOB, status_codes=["200", "202"])]
)
class JobOutput(serializers.ModelSerializer[RepairJob]):
    """A job on dead letters, and how far it is."""

    state = serializers.ChoiceField(choices=JobState.choices, read_only=True)
    rate = serializers.FloatField(source="per_second", read_only=True, allow_null=True)
    act = serializers.ChoiceField(choices=list(PERMISSIONS), read_only=True)
    done = serializers.IntegerField(read_only=True, help_text="How many letters have been acted on.")
    results = serializers.DictField(
        child=serializers.IntegerField(),
        read_only=True,
        help_text="How many came to which result: replayed, died (again), discarded, nothing (as they"
        " were), and in a dry run untried (an earlier letter of their key goes first).",
    )
    would_fail = FailureOutput(
        many=True,
        read_only=True,
        help_text=f"Of a dry run: what letters, or events behind them, would die of; after {MOST_FAILURES}"
        f" fingerprints the `{OTHERS}`.",
    )
    more = serializers.BooleanField(read_only=True, help_text="That there were more than `total`.")
    ran = serializers.IntegerField(read_only=True, help_text="How many events that waited behind them ran.")
    trouble = serializers.CharField(read_only=True, help_text="What keeps it from going on at the moment.")

    class Meta:
        model = RepairJob
        fields: ClassVar[list[str]] = [
            *("id", "act", "who", "why", "asked_at", "state", "rate", "total", "more", "done"),
            *("results", "would_fail", "ran", "trouble", "worked_at", "ended_at", "ended_by"),
        ]
        read_only_fields = fields


class ManyView(generics.GenericAPIView[RepairJob]):
    """What acts on many have in common."""

    permission_classes = [OperatorsAct]
    filter_backends = []
    act = ""

    def begin(self, request: Request) -> Response:
        """Begin a job, or say what it would be about."""
        serializer_class: type[SelectionInput] = self.serializer_class  # type: ignore[assignment]
        given = serializer_class(data=request.data)
        given.is_valid(raise_exception=True)
        asked, selection = given.validated_data, given.selection()
        operator = Operator(request.user.get_username(), asked.get("reason", ""), Via.REST)
        try:
            if asked.get("preview"):
                reach = extent(selection)
                said = {name: getattr(reach, name) for name in ("letters", "keys", "waiting", "more")}
                return Response(ExtentOutput({**said, "consequence": reach.consequence(self.act)}).data)
            job = jobs.begin(
                act=DRY_RUN if asked.get("dry_run") else self.act,
                selection=selection,
                operator=operator,
                late=asked.get("late", False),
                per_second=asked.get("rate"),
                shown=asked.get("shown"),
            )
        except NothingSelected as error:
            raise ValidationError(str(error), code="nothing_selected") from error
        except MoreThanShown as error:
            raise StateForbids(str(error)) from error
        return Response(JobOutput(job).data, status=HTTPStatus.ACCEPTED)


_ANSWERS: dict[int, Any] = {200: ExtentOutput, 202: JobOutput}


class ReplayMany(ManyView):
    """Replaying all that match."""

    act, permissions = "replay", (PERMISSIONS["replay"],)
    serializer_class = ReplayManyInput

    @extend_schema(
        operation_id="dead_letters_replay_many",
        summary="Replay many dead letters",
        request=ReplayManyInput,
        responses=_ANSWERS,
        tags=["dead-letters"],
    )
    @once
    def post(self, request: Request) -> Response:
        """Have workers replay each open letter that matches now, oldest first; not what dies later.

        202 with the job, or 200 with a preview of what it is about. 400 when nothing says which are meant.
        """
        return self.begin(request)


class DiscardMany(ManyView):
    """Giving all up that match."""

    act, permissions = "discard", (PERMISSIONS["discard"],)
    serializer_class = DiscardManyInput

    @extend_schema(
        operation_id="dead_letters_discard_many",
        summary="Discard many dead letters",
        request=DiscardManyInput,
        responses=_ANSWERS,
        tags=["dead-letters"],
    )
    @once
    def post(self, request: Request) -> Response:
        """Have workers discard each open letter that matches now. The same otherwise."""
        return self.begin(request)


@extend_schema_view(get=extend_schema(summary="Jobs on dead letters, the latest first", tags=["repair-jobs"]))
class JobList(generics.ListAPIView[RepairJob]):
    """All jobs, those that are over too."""

    permission_classes = [OperatorsAct]
    filter_backends = []
    serializer_class = JobOutput
    queryset = RepairJob.objects.order_by("-id")


class JobDetail(generics.GenericAPIView[RepairJob]):
    """One job."""

    permission_classes = [OperatorsAct]
    filter_backends = []
    serializer_class = JobOutput

    @extend_schema(summary="A job on dead letters", responses=JobOutput, tags=["repair-jobs"])
    def get(self, request: Request, job_id: UUID) -> Response:
        """How far it is."""
        return Response(JobOutput(_job(job_id)).data)


class JobStop(generics.GenericAPIView[RepairJob]):
    """Having a job do nothing more."""

    permission_classes = [OperatorsAct]
    filter_backends = []
    serializer_class = JobOutput
    permissions = tuple(PERMISSIONS.values())

    @extend_schema(
        summary="Stop a job on dead letters", request=None, responses=JobOutput, tags=["repair-jobs"]
    )
    @once
    def post(self, request: Request, job_id: UUID) -> Response:
        """It ends after the letter in hand. One that has ended stays as it is.

        Whoever may begin one of its kind may stop it.
        """
        if not may(request.user, PERMISSIONS[_job(job_id).act]):
            raise PermissionDenied(OperatorsAct.message)
        operator = Operator(request.user.get_username(), via=Via.REST)
        return Response(JobOutput(jobs.stop(job_id=job_id, operator=operator)).data)


def _job(job_id: UUID) -> RepairJob:
    try:
        return jobs.get_job(job_id)
    except NoSuchJob as error:
        raise NotFound(str(error)) from error
