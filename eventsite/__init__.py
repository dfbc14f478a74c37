"""Wiring: settings, addresses, logs, Celery. Nothing imports it."""

# Celery's shared tasks find their app once this is imported.
from eventsite.celery import app as celery_app

__all__ = ["celery_app"]
