"""Dead letters and parked keys over REST, for operators. Every act is written down with its user."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from outbox.errors import (
    CorrectionRefused,
    NoSuchLetter,
    NoSuchParkedKey,
    RepairRefused,
    UnknownConsumer,
)
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.operating import OperatorsAct, once
from outbox.repair import keys, letters
from outbox.repair.acts import Operator, Report, Via
from outbox.repair.filters import LetterFilter, ParkedKeyFilter
from outbox.repair.serializers import (
    LetterDetailOutput,
    LetterOutput,
    ParkedKeyOutput,
    ReasonInput,
    ReleaseInput,
    ReplayInput,
    ReportOutput,
)


class StateForbids(APIException):
    """It cannot be done as things are."""

    status_code = HTTPStatus.CONFLICT
    default_code = "repair_refused"


@extend_schema_view(get=extend_schema(summary="Dead letters, the latest first", tags=["dead-letters"]))
class LetterList(generics.ListAPIView[DeadLetter]):
    """Events that consumers could not process: open ones, unless a state is asked for."""

    permission_classes = [OperatorsAct]
    serializer_class = LetterOutput
    filterset_class = LetterFilter
    queryset = DeadLetter.objects.none()

    def get_queryset(self) -> QuerySet[DeadLetter]:
        """Without the records themselves."""
        found = DeadLetter.objects.defer("payload", "headers", "raw_key", "traceback", "correction")
        if "state" not in self.request.query_params:
            found = found.filter(state=LetterState.OPEN)
        return found.order_by("-id")


class LetterView(generics.GenericAPIView[DeadLetter]):
    """One dead letter."""

    permission_classes = [OperatorsAct]
    filter_backends = []


class LetterDetail(LetterView):
    """One dead letter with its record, and what was done about it."""

    serializer_class = LetterDetailOutput

    @extend_schema(summary="One dead letter", tags=["dead-letters"])
    def get(self, request: Request, letter_id: UUID) -> Response:
        """With what waits behind it, and every act."""
        letter: Any = DeadLetter.objects.filter(id=letter_id).first()
        if letter is None:
            raise NotFound("There is no such dead letter.")
        letter.behind = letters.waiting_behind(letter)
        return Response(LetterDetailOutput(letter).data)


class LetterReplay(LetterView):
    """Processing it after all."""

    permissions = ("replay_deadletter",)
    serializer_class = ReplayInput

    @extend_schema(
        summary="Replay a dead letter", request=ReplayInput, responses=ReportOutput, tags=["dead-letters"]
    )
    @once
    def post(self, request: Request, letter_id: UUID) -> Response:
        """Have its consumer process it, then what waits behind it, in order, up to the next failure.

        One transaction's worth, and workers go on with the rest. Of a dry run all is taken back.

        400 when corrected data does not fit the contract. 409 when another dead letter holds its key, or a
        rebuild has replaced its generation.
        """
        given = ReplayInput(data=request.data)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        with _refusals_as_problems():
            report = letters.replay(
                letter_id=letter_id,
                operator=_operator(request, reason=asked.get("reason", "")),
                data=_encoded(asked["data"]) if "data" in asked else None,
                late=asked.get("late", False),
                dry_run=asked.get("dry_run", False),
                to_the_end=False,
            )
        return _answer(report)


class LetterDiscard(LetterView):
    """Giving it up."""

    permissions = ("discard_deadletter",)
    serializer_class = ReasonInput

    @extend_schema(
        summary="Discard a dead letter", request=ReasonInput, responses=ReportOutput, tags=["dead-letters"]
    )
    @once
    def post(self, request: Request, letter_id: UUID) -> Response:
        """Give it up for good, and run what waits behind it, in order, up to the next failure."""
        operator = _operator(request, reason=_reason(request))
        with _refusals_as_problems():
            return _answer(letters.discard(letter_id=letter_id, operator=operator, to_the_end=False))


@extend_schema_view(get=extend_schema(summary="Parked keys, the latest first", tags=["parked-keys"]))
class ParkedKeyList(generics.ListAPIView[ParkedKey]):
    """Keys whose events wait behind a dead letter or a gap.

    In the order in which they were parked first. One that is parked anew, for another event, has another
    `parked_at` and keeps its place, so that whoever goes through the pages meets every key once.
    """

    permission_classes = [OperatorsAct]
    serializer_class = ParkedKeyOutput
    filterset_class = ParkedKeyFilter
    queryset = ParkedKey.objects.none()

    def get_queryset(self) -> QuerySet[ParkedKey]:
        """By when they were parked first."""
        return ParkedKey.objects.order_by("-id")


class ParkedKeyRelease(generics.GenericAPIView[ParkedKey]):
    """Going on without what is missing."""

    permission_classes = [OperatorsAct]
    permissions = ("release_parkedkey",)
    filter_backends = []
    serializer_class = ReleaseInput

    @extend_schema(
        summary="Release a parked key", request=ReleaseInput, responses=ReportOutput, tags=["parked-keys"]
    )
    @once
    def post(self, request: Request, parked_id: UUID) -> Response:
        """Give up the events that are missing, and run what waits, in order, up to the next gap.

        409 when it is a dead letter that holds the key: replay or discard that; and when other events are
        missing by now than `missing` names.
        """
        given = ReleaseInput(data=request.data)
        given.is_valid(raise_exception=True)
        operator = _operator(request, reason=given.validated_data["reason"])
        with _refusals_as_problems():
            return _answer(
                keys.release(parked_id=parked_id, operator=operator, shown=given.shown, to_the_end=False)
            )


def _encoded(data: Any) -> bytes:
    try:
        return msgspec.json.encode(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise CorrectionRefused(f"The data cannot be written as JSON: {error}.") from error


def _reason(request: Request) -> str:
    given = ReasonInput(data=request.data)
    given.is_valid(raise_exception=True)
    reason: str = given.validated_data["reason"]
    return reason


def _operator(request: Request, *, reason: str = "") -> Operator:
    return Operator(request.user.get_username(), reason, Via.REST)


def _answer(report: Report) -> Response:
    return Response(ReportOutput(report).data)


@contextmanager
def _refusals_as_problems() -> Iterator[None]:
    """Answers refusals: 404 for what is not there, 400 for the data, 409 for what the state forbids."""
    try:
        yield
    except (NoSuchLetter, NoSuchParkedKey) as error:
        raise NotFound(str(error)) from error
    except CorrectionRefused as error:
        raise ValidationError({"data": str(error)}, code="contract_violation") from error
    except (RepairRefused, UnknownConsumer) as error:
        raise StateForbids(str(error)) from error
