from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate, pre_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts.roles import SHOWN_APPS, ensure_roles, remember_permissions

        pre_migrate.connect(remember_permissions, sender=self)
        post_migrate.connect(ensure_roles, sender=self)
        for label in sorted(SHOWN_APPS):
            post_migrate.connect(ensure_roles, sender=apps.get_app_config(label))
