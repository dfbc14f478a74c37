"""What dead letters, parked keys and acts look like over REST. Data is JSON or text, never markup."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from outbox import examples
from outbox.item import decode_headers
from outbox.models import DeadLetter, LetterState, ParkCause, ParkedKey
from outbox.repair.acts import Act, Result, acts_on
from outbox.shown import headers_text

LONGEST_REASON = 1_000
_UNSEEN = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_REASON = rf"^[^\u0000-\u001f\u007f-\u009f]*[^{_UNSEEN}][^\u0000-\u001f\u007f-\u009f]*$"


class StrictInput(serializers.Serializer[Any]):
    """An object of exactly the declared fields: a misspelt correction would be an uncorrected replay."""

    def to_internal_value(self, data: Any) -> Any:
        """The very object. Raises ValidationError for a field that there is not."""
        if isinstance(data, Mapping):
            known = ", ".join(self.fields)
            unknown = {
                str(name): serializers.ErrorDetail(f"Unknown field; there is {known}.", code="unknown_field")
                for name in data
                if name not in self.fields
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": LONGEST_REASON, "pattern": _REASON})
class ReasonField(serializers.CharField):
    """Why: at least one character of it can be seen, and none is a control character."""

    default_error_messages = {"invalid": "Not a string.", "unseen": "Control characters, or nothing to see."}

    def to_internal_value(self, data: Any) -> str:
        """The very string."""
        if not isinstance(data, str):
            self.fail("invalid")
        if data and re.fullmatch(_REASON, data) is None:
            self.fail("unseen")
        return data


@extend_schema_serializer(
    examples=[OpenApiExample("As it is", {}), OpenApiExample("Corrected", {"data": {"points": 12}})]
)
class ReplayInput(StrictInput):
    """How to process it: as it is, or with corrected data."""

    data = serializers.JSONField(  # type: ignore[assignment]
        required=False,
        help_text="Corrected data, by the contract of the event's type: kept beside the original.",
    )
    late = serializers.BooleanField(
        required=False, help_text="Also when its place in its key has been passed, and so out of order."
    )
    dry_run = serializers.BooleanField(
        required=False, help_text="Do it in one transaction, say what came of it, and take all of it back."
    )
    reason = ReasonField(required=False, max_length=LONGEST_REASON, help_text="Kept with the act.")


@extend_schema_serializer(examples=[OpenApiExample("A reason", {"reason": "the customer has left"})])
class ReasonInput(StrictInput):
    """Why it is given up."""

    reason = ReasonField(max_length=LONGEST_REASON, help_text="Kept with the act.")


@extend_schema_serializer(examples=[OpenApiExample("All of it ran", examples.REPORT)])
class ReportOutput(serializers.Serializer[Any]):
    """What came of an act."""

    result = serializers.ChoiceField(
        choices=Result.choices,
        help_text=(
            "replayed: processed, or passed where its type is not handled. died: it failed again, and stays. "
            "discarded, released: as asked. nothing: it had been done before."
        ),
    )
    detail = serializers.CharField(help_text="All of it, in a sentence.")
    ran = serializers.IntegerField(help_text="How many events that had waited behind it ran.")
    waiting = serializers.IntegerField(
        help_text="How many still wait: for a dead letter, a gap, or a worker, which goes on by itself."
    )
    error = serializers.CharField(help_text="Why it died again, or what stopped the events behind it.")


class ActOutput(serializers.ModelSerializer[Act]):
    """Who did what, when and why, and what came of it."""

    class Meta:
        model = Act
        fields = ["at", "who", "via", "act", "why", "result", "error", "ran", "waiting"]
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("A dead letter", examples.LETTER)])
class LetterOutput(serializers.ModelSerializer[DeadLetter]):
    """An event that a consumer could not process."""

    state = serializers.ChoiceField(choices=LetterState.choices, read_only=True)

    class Meta:
        model = DeadLetter
        fields = [
            "id",
            "consumer",
            "generation",
            "event_id",
            "type",
            "topic",
            "partition",
            "offset",
            "key",
            "number",
            "occurred_at",
            "cause",
            "error",
            "fingerprint",
            "attempts",
            "died_at",
            "state",
            "settled_at",
        ]
        read_only_fields = fields


class HeaderOutput(serializers.Serializer[Any]):
    """One header of the record; unreadable bytes are replaced."""

    name = serializers.CharField()
    value = serializers.CharField()


@extend_schema_serializer(examples=[OpenApiExample("It died again", examples.LETTER_DETAIL)])
class LetterDetailOutput(LetterOutput):
    """A dead letter with its record, what waits behind it, and what was done about it."""

    data = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="The record's value: parsed when it is JSON, otherwise text."
    )
    correction = serializers.SerializerMethodField(help_text="The data with which it was replayed, if any.")
    headers = serializers.SerializerMethodField()
    waiting = serializers.IntegerField(help_text="How many events of its key wait behind it.")
    acts = serializers.SerializerMethodField()

    class Meta(LetterOutput.Meta):
        fields = [
            *LetterOutput.Meta.fields,
            "traceback",
            "data",
            "correction",
            "headers",
            "waiting",
            "acts",
        ]
        read_only_fields = fields

    @extend_schema_field({})
    def get_data(self, letter: DeadLetter) -> Any:
        """The data for reading."""
        return _readable(letter.payload)

    @extend_schema_field({})
    def get_correction(self, letter: DeadLetter) -> Any:
        """The same of the corrected data."""
        return _readable(letter.correction)

    @extend_schema_field(HeaderOutput(many=True))
    def get_headers(self, letter: DeadLetter) -> list[dict[str, str]]:
        """As text."""
        pairs = headers_text(decode_headers(letter.headers))
        return [{"name": name, "value": value} for name, value in pairs]

    @extend_schema_field(ActOutput(many=True))
    def get_acts(self, letter: DeadLetter) -> Any:
        """From the first on."""
        return ActOutput(acts_on(letter, using=letter._state.db or "default"), many=True).data


@extend_schema_serializer(examples=[OpenApiExample("A gap", examples.PARKED_KEY)])
class ParkedKeyOutput(serializers.ModelSerializer[ParkedKey]):
    """A key whose events wait."""

    cause = serializers.ChoiceField(
        choices=ParkCause.choices,
        read_only=True,
        help_text="dead_letter: replay or discard it. gap: events are missing. released: they are being run.",
    )
    waiting = serializers.IntegerField(help_text="How many events wait.", read_only=True)

    class Meta:
        model = ParkedKey
        fields = [
            "id",
            "consumer",
            "generation",
            "topic",
            "key",
            "cause",
            "event_id",
            "parked_at",
            "waiting",
        ]
        read_only_fields = fields


def _readable(data: bytes | memoryview | None) -> Any:
    if data is None:
        return None
    text = bytes(data).decode(errors="replace")
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=str)
    return text
