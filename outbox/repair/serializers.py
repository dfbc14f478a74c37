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
from outbox.repair.behind import NOTHING, behind
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


class Numbers(serializers.Serializer[Any]):
    """Numbers of events of a key: from the first to the last, both of them."""

    first = serializers.IntegerField(min_value=1)
    last = serializers.IntegerField(min_value=1)


@extend_schema_serializer(
    examples=[
        OpenApiExample("What was shown", {"reason": "lost", "missing": {"first": 2, "last": 3}}),
        OpenApiExample("Whatever is missing", {"reason": "lost"}),
    ]
)
class ReleaseInput(ReasonInput):
    """Why what is missing is given up, and what that is as far as you know."""

    missing = Numbers(
        required=False,
        allow_null=True,
        help_text="Those that the list told of: 409 when others are missing by now. Whichever, if left out.",
    )

    @property
    def shown(self) -> range | None:
        """The numbers that are given; None where they are left out."""
        if "missing" not in self.validated_data:
            return None
        given = self.validated_data["missing"]
        return range(0) if given is None else range(given["first"], given["last"] + 1)


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
        help_text="How many still wait, 100 at most: for a dead letter, a gap, or a worker, which goes on."
    )
    waiting_more = serializers.BooleanField(help_text="That more wait than were counted.")
    error = serializers.CharField(help_text="Why it died again, or what stopped the events behind it.")


class ActOutput(serializers.ModelSerializer[Act]):
    """Who did what, when and why, and what came of it."""

    class Meta:
        model = Act
        fields = ["at", "who", "via", "act", "why", "result", "error", "ran", "waiting", "job_id"]
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
    waiting = serializers.IntegerField(
        source="behind.count", help_text="How many events of its key wait behind it, 100 at most."
    )
    waiting_more = serializers.BooleanField(
        source="behind.more", help_text="That more wait than were counted."
    )
    acts = serializers.SerializerMethodField()

    class Meta(LetterOutput.Meta):
        fields = [
            *LetterOutput.Meta.fields,
            "traceback",
            "data",
            "correction",
            "headers",
            "waiting",
            "waiting_more",
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


class ParkedKeys(serializers.ListSerializer[Any]):
    """What waits behind those of a page is read at once."""

    def to_representation(self, data: Any) -> Any:
        """Of the rows of a page."""
        rows = list(data)
        known = behind(row.id for row in rows)
        for row in rows:
            row.behind = known.get(row.id, NOTHING)
        return super().to_representation(rows)


@extend_schema_serializer(examples=[OpenApiExample("A gap", examples.PARKED_KEY)])
class ParkedKeyOutput(serializers.ModelSerializer[ParkedKey]):
    """A key whose events wait."""

    cause = serializers.ChoiceField(
        choices=ParkCause.choices,
        read_only=True,
        help_text="dead_letter: replay or discard it. gap: events are missing. released: they are being run.",
    )
    missing = serializers.SerializerMethodField(
        help_text="The numbers of the events that it waits for, where it is a gap; null where it can go on."
    )
    waiting = serializers.IntegerField(
        source="behind.waiting.count", help_text="How many events wait, 100 at most.", read_only=True
    )
    waiting_more = serializers.BooleanField(
        source="behind.waiting.more", help_text="That more wait than were counted.", read_only=True
    )

    class Meta:
        model = ParkedKey
        list_serializer_class = ParkedKeys
        fields = [
            "id",
            "consumer",
            "generation",
            "topic",
            "key",
            "cause",
            "event_id",
            "parked_at",
            "missing",
            "waiting",
            "waiting_more",
        ]
        read_only_fields = fields

    @extend_schema_field(Numbers(allow_null=True))
    def get_missing(self, parked: ParkedKey) -> dict[str, int] | None:
        """The first and the last of them."""
        missing: range = parked.behind.missing  # type: ignore[attr-defined]
        return {"first": missing[0], "last": missing[-1]} if missing else None


def _readable(data: bytes | memoryview | None) -> Any:
    if data is None:
        return None
    text = bytes(data).decode(errors="replace")
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=str)
    return text
