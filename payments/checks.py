"""What must be right before any payment is requested."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

LONGEST = 10 * 366 * 86_400


@register()
def check_deadline(app_configs: Any, **kwargs: Any) -> list[Error]:
    """A deadline that has passed at the request, or lies beyond the calendar, would refuse every payment."""
    if 0 < settings.PAYMENTS_EXPIRE_AFTER <= LONGEST:
        return []
    return [Error(f"PAYMENTS_EXPIRE_AFTER must be 1 to {LONGEST} seconds.", id="payments.E001")]
