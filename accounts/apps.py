from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts.roles import SHOWN_APPS, ensure_roles

        post_migrate.connect(ensure_roles, sender=self)
        for label in sorted(SHOWN_APPS):
            post_migrate.connect(ensure_roles, sender=apps.get_app_config(label))
