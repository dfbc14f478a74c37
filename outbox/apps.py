from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class OutboxConfig(AppConfig):
    name = "outbox"
    verbose_name = "Outbox"

    def ready(self) -> None:
        from outbox import consumer_models, listings, positions, relay_models  # noqa: F401  (models that stand in modules of their own)
        from outbox.alerts import alarms, options  # noqa: F401  (models, and checks of settings)
        from outbox.partitions import make_partitions_after_migrate
        from outbox.repair import acts, jobs  # noqa: F401

        post_migrate.connect(make_partitions_after_migrate, sender=self)
        autodiscover_modules("handlers")
