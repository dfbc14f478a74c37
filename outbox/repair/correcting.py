"""What is wrong with corrected data, field by field, before it is tried."""

from dataclasses import dataclass, replace

import msgspec

from outbox import clock
from outbox.errors import ContractViolation, CorrectionRefused
from outbox.item import read_item, stored_record
from outbox.models import DeadLetter
from outbox.registry import Consumer
from outbox.repair.letters import check_correction


@dataclass(frozen=True, slots=True)
class Violation:
    """What one field must be and is not; `field` is empty for the data as a whole."""

    field: str
    said: str


def violations(letter: DeadLetter, data: bytes, *, consumer: Consumer) -> list[Violation]:
    """Everything that keeps the data from being this letter's; nothing when it fits.

    What no data can mend (headers that cannot be read, a type without a handler) is said of the whole.
    """
    record = replace(stored_record(letter), value=data)
    item = read_item(record, consumer=consumer, now=clock.now(using=consumer.using))
    if item.envelope is not None and item.route is not None:
        try:
            given = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [Violation("", f"This is not JSON: {error}.")]
        if isinstance(given, dict) and (found := _of_fields(given, item.route.event)):
            return found
    try:
        check_correction(letter, data, consumer=consumer)
    except (CorrectionRefused, ContractViolation) as error:
        return [Violation("", str(error))]
    return []


def unknown_fields(letter: DeadLetter, data: bytes, *, consumer: Consumer) -> list[str]:
    """Fields of the data that the contract of the letter's event does not know, and that nobody will read."""
    record = replace(stored_record(letter), value=data)
    route = read_item(record, consumer=consumer, now=clock.now(using=consumer.using)).route
    try:
        given = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    if route is None or not isinstance(given, dict):
        return []
    known = {field.encode_name for field in msgspec.structs.fields(route.event)}
    return [name for name in given if name not in known]


def _of_fields(given: dict[str, object], contract: type[msgspec.Struct]) -> list[Violation]:
    found = []
    for field in msgspec.structs.fields(contract):
        name = field.encode_name
        if name not in given:
            if field.required:
                found.append(Violation(name, "It is missing."))
            continue
        try:
            msgspec.convert(given[name], field.type)
        except (msgspec.ValidationError, RecursionError) as error:
            found.append(Violation(name, f"{error}."))
    return found
