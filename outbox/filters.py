"""By what events can be looked for."""

import django_filters

from outbox.config import config
from outbox.models import OutboxEvent


def _topics() -> list[tuple[str, str]]:
    return [(topic.name, topic.name) for topic in config().declared_topics()]


class EventFilter(django_filters.FilterSet):
    """Exact matches only."""

    type = django_filters.CharFilter(strip=False, label="Like payments.PaymentValidated.v1")
    topic = django_filters.ChoiceFilter(choices=_topics)
    key = django_filters.CharFilter(strip=False, label="The id of a payment or order, or merchant:customer")
    correlation_id = django_filters.UUIDFilter(label="All that followed from one beginning")

    class Meta:
        model = OutboxEvent
        fields = ("type", "topic", "key", "correlation_id")
