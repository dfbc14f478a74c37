from django.apps import AppConfig


class EventsiteConfig(AppConfig):
    name = "eventsite"

    def ready(self) -> None:
        from eventsite import tracing

        tracing.set_up()
