"""What must be right before any points are earned."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def check_points(app_configs: Any, **kwargs: Any) -> list[Error]:
    """Points that a payment takes away are none that it earns: the ledger would refuse every payment."""
    if settings.LOYALTY_POINTS_PER_UNIT >= 0:
        return []
    return [Error("LOYALTY_POINTS_PER_UNIT must be 0 or more.", id="loyalty.E001")]
