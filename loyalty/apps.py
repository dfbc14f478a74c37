from django.apps import AppConfig


class LoyaltyConfig(AppConfig):
    name = "loyalty"

    def ready(self) -> None:
        from loyalty import checks  # noqa: F401  (registers what it checks)
