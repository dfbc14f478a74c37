"""Input that is taken at its word: unknown fields, other types and control characters are refused by name."""

import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from rest.text import CONTROLS, NOTHING_SEEN, UNSEEN, can_be_seen


class StrictSerializer(serializers.Serializer[Any]):
    """An object of exactly the declared fields: a misspelt optional field is an error, not a surprise."""

    # What the OpenAPI document says of the object beside its fields.
    schema_limits: ClassVar[dict[str, Any]] = {}

    def to_internal_value(self, data: Any) -> Any:
        """As Django REST framework does, and every unknown field is reported beside the other errors."""
        errors: dict[str, Any] = {}
        if isinstance(data, Mapping):
            known = ", ".join(self._writable_names())
            errors = {
                str(name): serializers.ErrorDetail(f"Unknown field; there are {known}.", code="unknown_field")
                for name in data
                if name not in self.fields
            }
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if errors and isinstance(error.detail, dict):
                raise serializers.ValidationError({**error.detail, **errors}) from None
            raise
        if errors:
            raise serializers.ValidationError(errors)
        return value

    def _writable_names(self) -> list[str]:
        return [name for name, field in self.fields.items() if not field.read_only]


class TextField(serializers.CharField):
    """A JSON string, kept as it is. Control characters are refused; lone surrogates are by the base."""

    # The same for the OpenAPI document.
    schema_pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"

    default_error_messages = {
        "invalid": "Not a string.",
        "control": "Control characters are not accepted.",
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        """The very string. A number is not a string here."""
        if not isinstance(data, str):
            self.fail("invalid")
        if any(unicodedata.category(character) == "Cc" for character in data):
            self.fail("control")
        return data


class ProseField(TextField):
    """What a person writes for people: at least one character of it can be seen."""

    schema_pattern = rf"^[^{CONTROLS}]*[^{UNSEEN}][^{CONTROLS}]*$"

    default_error_messages = {"unseen": NOTHING_SEEN}

    def to_internal_value(self, data: Any) -> str:
        """The very string."""
        text = super().to_internal_value(data)
        if not can_be_seen(text):
            self.fail("unseen")
        return text


class AddressField(ProseField):
    """Lines of text: of the control characters line feeds are accepted, and no other."""

    _REFUSED = r"\u0000-\u0009\u000b-\u001f\u007f-\u009f"
    schema_pattern = rf"^[^{_REFUSED}]*[^{UNSEEN}][^{_REFUSED}]*$"

    default_error_messages = {"control": "Control characters other than line feeds are not accepted."}

    def to_internal_value(self, data: Any) -> str:
        """The very string."""
        super().to_internal_value(data.replace("\n", "") if isinstance(data, str) else data)
        text: str = data
        return text


@extend_schema_field(
    {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$", "maxLength": 40, "example": "12.50"}
)
class AmountField(TextField):
    """A decimal string, never a JSON number: those are binary fractions to most readers."""

    default_error_messages = {"invalid": 'Not a string: write amounts like "12.50".'}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=40, help_text='Like "12.50", with the decimals of its currency.', **kwargs
        )


class WholeNumberField(serializers.IntegerField):
    """A JSON number without a fraction; neither "3" nor true is one."""

    def to_internal_value(self, data: Any) -> int:
        """The very integer."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class ProblemErrorSerializer(serializers.Serializer[Any]):
    """One thing that is wrong with the input."""

    field = serializers.CharField(allow_null=True, help_text="Where, like `lines.0.sku`; null for the whole.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """What went wrong, by RFC 9457."""

    type = serializers.CharField(help_text="Identifies the kind of problem.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong with this very request.")
    code = serializers.CharField()
    errors = ProblemErrorSerializer(  # type: ignore[assignment]
        many=True, required=False, help_text="There when input was refused: one entry for each thing wrong."
    )
