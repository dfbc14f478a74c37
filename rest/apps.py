from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "rest"

    def ready(self) -> None:
        from rest import checks  # noqa: F401  (registers what it checks)
