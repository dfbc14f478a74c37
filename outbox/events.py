"""The base of every event contract. Free of Django, so that contracts can be shared with any program."""

from typing import ClassVar

import msgspec

from outbox.errors import ContractViolation
from outbox.topics import Topic

_encoder = msgspec.json.Encoder(decimal_format="string")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable fact, past tense. Subclasses add typed fields and say where the fact goes:

        class PaymentValidated(Event, frozen=True, kw_only=True):
            type: ClassVar[str] = "payments.PaymentValidated.v1"
            topic: ClassVar[Topic] = PAYMENTS
            payment_id: UUID

            def key(self) -> str:
                return str(self.payment_id)

    Events with one key in one topic are delivered in the order in which they were published.
    Readers pass over fields they do not know, so a field may be added within a version; anything else
    is a new version with a new `type`.
    """

    type: ClassVar[str]
    topic: ClassVar[Topic]

    def key(self) -> str:
        """The text whose events keep their order; never empty."""
        raise NotImplementedError(f"{self.__class__.__name__} must say which key() its order follows.")

    def to_json(self) -> bytes:
        """The event's data as JSON, UTF-8, fields in declared order.

        The result has been read back by the contract: `frozen` alone does not check the types given.
        Raises ContractViolation.
        """
        try:
            data = _encoder.encode(self)
        except (TypeError, ValueError, OverflowError) as error:
            raise ContractViolation(f"{self.type} cannot be written as JSON: {error}.") from error
        self.from_json(data)
        return data

    @classmethod
    def from_json(cls, data: bytes) -> "Event":
        """Read data of this type. Raises ContractViolation naming the field and what is wrong with it."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ContractViolation(f"{cls.type}: {error}.") from error
