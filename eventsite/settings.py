"""Wiring. Everything that differs between machines comes from the environment."""

from datetime import timedelta
from pathlib import Path

import environ

import devstack.state
from eventsite import backoffice, broker, logs, tracing

BASE_DIR = Path(__file__).resolve().parent.parent
DEVSTACK_DIR = BASE_DIR / ".devstack"

env = environ.Env()
# A demo running in another terminal lends its database, broker and key to the commands typed beside it.
BORROWED_VARIABLES = {
    name: value for name, value in devstack.state.environment(DEVSTACK_DIR).items() if name not in env.ENVIRON
}
env.ENVIRON.update(BORROWED_VARIABLES)

DEBUG = env.bool("DJANGO_DEBUG", default=False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="") or devstack.state.secret_key(DEVSTACK_DIR)
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "outbox",
    "rest",
    "accounts",
    "payments",
    "orders",
    "loyalty",
    "analytics",
    "timeline",
    "dashboard",
    "demo",
    "eventsite",
]

MIDDLEWARE = [
    "eventsite.observing.CommandsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "dashboard.middleware.ContentSecurityPolicyMiddleware",
    "eventsite.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "outbox.middleware.CorrelationMiddleware",
    "dashboard.middleware.UnavailableMiddleware",
]

ROOT_URLCONF = "eventsite.urls"
ASGI_APPLICATION = "eventsite.asgi.application"
WSGI_APPLICATION = "eventsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL", default="postgresql://localhost/eventsite")}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=0),
    "CONN_HEALTH_CHECKS": True,
    # A pooler in transaction mode may read on in another session than the one that holds the cursor.
    "DISABLE_SERVER_SIDE_CURSORS": True,
}
# A server that vanishes without a word (its machine, or the network) is given up after half a minute.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    **DATABASES["default"].get("OPTIONS", {}),
}
if env.bool("DATABASE_PREPARED", default=False):
    # For processes that repeat a few statements, and reach PostgreSQL without a pooler in between: planning
    # statements on partitioned tables costs the server as much as running them.
    DATABASES["default"]["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}
if env.bool("DATABASE_POOL", default=False):
    # For an ASGI server: each request has a thread of its own, and would open a connection of its own.
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 2, "max_size": 20, "timeout": 5}
# For a web server: whoever waits for a row, or asks what takes too long, holds one of a few turns. After so
# many seconds it is a 503.
for _setting in ("lock_timeout", "statement_timeout"):
    if _seconds := env.float(f"DATABASE_{_setting.upper()}", default=0.0):
        _options = DATABASES["default"]["OPTIONS"].get("options", "")
        DATABASES["default"]["OPTIONS"]["options"] = f"{_options} -c {_setting}={_seconds * 1000:.0f}".strip()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["rest.signing_in.PasswordBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# Times to the second, sortable by eye.
FORMAT_MODULE_PATH = "eventsite.formats"

STATIC_URL = "static/"
# Assets are served from where the apps keep them, unless a deployment has collected them into a folder.
STATIC_ROOT = env.str("DJANGO_STATIC_ROOT", default=None)
WHITENOISE_USE_FINDERS = STATIC_ROOT is None

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Behind TLS these are on; the demo speaks plain HTTP on the loopback address.
HTTPS = env.bool("DJANGO_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

KAFKA_SECURITY_VARIABLES = {
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA_LOCATION": "ssl.ca.location",
    "KAFKA_SSL_CERTIFICATE_LOCATION": "ssl.certificate.location",
    "KAFKA_SSL_KEY_LOCATION": "ssl.key.location",
    "KAFKA_SSL_KEY_PASSWORD": "ssl.key.password",
}
OUTBOX = {
    "KAFKA": {
        "bootstrap.servers": env.str("KAFKA_BOOTSTRAP_SERVERS", default="localhost:9092"),
        **{option: env.str(name) for name, option in KAFKA_SECURITY_VARIABLES.items() if name in env.ENVIRON},
    },
    "TOPICS": "contracts.topics.TOPICS",
    "SOURCE": "/eventsite",
    "OWNER_OF": "accounts.selectors.owner_of",
    "MAY_OPERATE": "accounts.selectors.may_operate",
    "IDEMPOTENT": "rest.idempotency.idempotent",
    # Of operators for merchants, and in a demo.
    "COMMANDS": (
        *("request", "validate", "reject", "refund", "modify", "cancel"),
        *("stop", "start", "freeze", "thaw", "kill", "poison"),
    ),
    "ALERTS": {
        "WEBHOOK": env.str("ALERT_WEBHOOK", default=""),
        "SECRET": env.str("ALERT_SECRET", default=""),
        "EMAIL": env.list("ALERT_EMAIL", default=[]),
        "PAGE": env.str("ALERT_PAGE", default=""),
        "HOLD": env.float("ALERT_HOLD", default=30.0),
        "REMIND": env.float("ALERT_REMIND", default=14_400.0),
    },
    "PERIODIC_TASKS": True,
    "METRICS_ADDRESS": env.str("METRICS_ADDRESS", default="")
    or (f":{env.int('METRICS_PORT')}" if env.str("METRICS_PORT", default="") else ""),
    "TRACING": tracing.is_wanted(env.ENVIRON),
}
# How mail leaves, like smtp+tls://user:password@server:587; alerts alone send any.
vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DJANGO_FROM_EMAIL", default="eventsite@localhost")

# The same PostgreSQL carries Celery's queues; another URL (Redis, RabbitMQ) is one variable away.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or broker.url_over_database(DATABASES["default"])
CELERY_BROKER_TRANSPORT_OPTIONS = broker.transport_options(
    CELERY_BROKER_URL, visibility_timeout=env.int("CELERY_VISIBILITY_TIMEOUT", default=60)
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A task is taken off its queue once it is done: a killed worker loses none. So every task may run twice.
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
# Remote control needs a queue per worker, which over PostgreSQL is a table that no one removes.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = not broker.over_postgresql(CELERY_BROKER_URL)
CELERY_BEAT_SCHEDULE = {
    "partitions": {"task": "outbox.make_partitions", "schedule": timedelta(hours=1)},
    "lag": {"task": "outbox.sample_lag", "schedule": timedelta(seconds=10), "options": {"expires": 10}},
    "alerts": {"task": "outbox.send_alerts", "schedule": timedelta(seconds=10), "options": {"expires": 10}},
    # The deadline itself binds at once; this only says so. A sweep that waited for a worker too long is not
    # run: the next has come, and ten of them find no more than one.
    "due-payments": {
        "task": "payments.expire_due",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},
    },
    "ended-slots": {
        "task": "analytics.close_slots",
        "schedule": timedelta(seconds=2),
        "options": {"expires": 2},
    },
    # What an operator has released, and what a request or a killed command has left of it.
    "released-keys": {
        "task": "outbox.go_on_with_released_keys",
        "schedule": timedelta(seconds=2),
        "options": {"expires": 2},
    },
    # What operators asked for about many dead letters at once.
    "repair-jobs": {
        "task": "outbox.work_on_repair_jobs",
        "schedule": timedelta(seconds=2),
        "options": {"expires": 2},
    },
    # Rebuilds that were asked for on a page, a slice of time after the other.
    "rebuilds": {
        "task": "outbox.go_on_with_rebuilds",
        "schedule": timedelta(seconds=2),
        "options": {"expires": 2},
    },
    "kept-answers": {"task": "rest.prune_kept_answers", "schedule": timedelta(days=1)},
    "budgets": {"task": "rest.prune_budgets", "schedule": timedelta(hours=1)},
}

LOGGING = logs.logging_settings(
    style=env.str("LOG_FORMAT", default="text"), level=env.str("LOG_LEVEL", default="INFO")
)

REST_FRAMEWORK = {
    # The token first: it is what an anonymous caller is told to bring (401, not 403).
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["rest.throttling.SharedThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest.parsers.BoundedJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest.pages.LatestFirst",
    "DEFAULT_FILTER_BACKENDS": ["rest.filters.StrictFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "rest.schema.ProblemAutoSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# What each user may ask of the API: so much at once, and then so much a second. One client that runs wild is
# not to take the site from the others; the load that one is meant to carry is far below.
API_RATE_PER_SECOND = env.float("API_RATE_PER_SECOND", default=500.0)
API_BURST = env.int("API_BURST", default=20_000)
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "rest.problems.ProblemHandler",
    "EXCEPTION_FORMATTER_CLASS": "rest.problems.ProblemFormatter",
    "ALLOWED_ERROR_STATUS_CODES": ["400", "401", "403", "404", "405", "406", "415", "500", "503"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "eventsite",
    "DESCRIPTION": "Payments, orders and loyalty, joined by events. Errors are problem details (RFC 9457).",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api",
    "ENUM_NAME_OVERRIDES": {
        "PaymentStatus": "payments.models.Status",
        "PaymentCause": "payments.models.Cause",
        "OrderStatus": "orders.models.Status",
        "OrderCause": "orders.models.Cause",
        "Currency": "contracts.money.CODES",
        "ReceptionStatus": "outbox.serializers.RECEPTIONS",
        "DeadLetterState": "outbox.models.LetterState",
        "ParkCause": "outbox.models.ParkCause",
        "RepairResult": "outbox.repair.acts.Result",
        "ReadinessStatus": "outbox.health.STATES",
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "displayRequestDuration": True},
}
# Who may ask /healthz, /readyz and /metrics besides this machine, like 10.0.0.0/8.
HEALTH_ALLOWED_ADDRESSES = env.list("HEALTH_ALLOWED_ADDRESSES", default=[])

UNFOLD = backoffice.UNFOLD

# The socket by which a demo steers its parts (dashboard/chaos/); empty elsewhere, where there is no panel.
DEMO_CONTROL = env.str("DEMO_CONTROL", default="")

# Seconds in which a payment must be validated; then it is rejected.
PAYMENTS_EXPIRE_AFTER = env.int("PAYMENTS_EXPIRE_AFTER", default=86_400)
LOYALTY_POINTS_PER_UNIT = env.int("LOYALTY_POINTS_PER_UNIT", default=1)
