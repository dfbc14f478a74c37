"""The ASGI entry point: `uvicorn eventsite.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")
django.setup(set_prefix=False)

from eventsite.handler import Application  # noqa: E402  (what it imports asks the settings)

application = Application()
