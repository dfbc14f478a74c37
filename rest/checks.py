"""What must be right before any request is answered."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def check_budgets(app_configs: Any, **kwargs: Any) -> list[Error]:
    """A budget that never refills, or holds nothing, would refuse every request."""
    errors = []
    if not 0 < settings.API_RATE_PER_SECOND < float("inf"):
        errors.append(Error("API_RATE_PER_SECOND must be more than 0.", id="rest.E001"))
    if settings.API_BURST < 1:
        errors.append(Error("API_BURST must be 1 or more.", id="rest.E002"))
    return errors
