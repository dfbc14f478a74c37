"""By what dead letters and parked keys can be looked for: exact matches only."""

import django_filters

from outbox.models import DeadLetter, LetterState, ParkCause, ParkedKey


class LetterFilter(django_filters.FilterSet):
    """Open ones, unless a state is named."""

    consumer = django_filters.CharFilter(strip=False, label="Who could not process it")
    event_id = django_filters.UUIDFilter(label="The event's id")
    type = django_filters.CharFilter(strip=False, label="Like payments.PaymentValidated.v1")
    topic = django_filters.CharFilter(strip=False)
    key = django_filters.CharFilter(strip=False)
    cause = django_filters.CharFilter(strip=False, label="The error's type")
    fingerprint = django_filters.CharFilter(strip=False, label="The same for failures at the same place")
    state = django_filters.ChoiceFilter(
        choices=LetterState.choices, label="Open ones when left out", empty_label=None
    )

    class Meta:
        model = DeadLetter
        fields = ("consumer", "event_id", "type", "topic", "key", "cause", "fingerprint", "state")


class ParkedKeyFilter(django_filters.FilterSet):
    """All that are parked."""

    consumer = django_filters.CharFilter(strip=False)
    topic = django_filters.CharFilter(strip=False)
    key = django_filters.CharFilter(strip=False)
    cause = django_filters.ChoiceFilter(choices=ParkCause.choices, empty_label=None)

    class Meta:
        model = ParkedKey
        fields = ("consumer", "topic", "key", "cause")
