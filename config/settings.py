"""All settings, and the only reader of the environment. `.env.example` documents every variable."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONCE
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
_testing = "pytest" in sys.modules
if (BASE_DIR / ".env").exists() and not _testing:
    env.read_env(BASE_DIR / ".env")


def secret(name: str, default: str = "") -> str:
    """Read a secret from the variable or from the file that `<name>_FILE` names."""
    file = env.str(f"{name}_FILE", default="")
    return Path(file).read_text().strip() if file else env.str(name, default=default)


def refuse(sentence: str) -> None:
    """Stop the start with one clear line."""
    raise ImproperlyConfigured(sentence)


DEBUG = env.bool("DEBUG", default=False)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
SITE_URL = env.str("SITE_URL", default=f"http://localhost:{PORT}").rstrip("/")
_site = urlsplit(SITE_URL)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
SITE_IS_LOOPBACK = (_site.hostname or "") in ("localhost", "127.0.0.1", "::1")
if not _site.hostname or _site.scheme not in ("http", "https"):
    refuse(f"SITE_URL must look like https://chat.example.org, not {SITE_URL!r}.")

SECRET_KEY = secret("SECRET_KEY")
if len(SECRET_KEY) < 32:
    refuse("SECRET_KEY is missing or shorter than 32 characters. `make up` writes one into .env.")
FIELD_KEYS = [key.strip() for key in secret("FIELD_KEY").split(",") if key.strip()]
if not FIELD_KEYS:
    refuse("FIELD_KEY is missing. `make up` writes one into .env.")
if DEBUG and not SITE_IS_LOOPBACK:
    refuse("DEBUG is on, and SITE_URL is not this machine. Switch one of them.")

# From the one address follow hosts, CSRF origins, the socket's origins and cookie security.
_loopback_origins = [f"{_site.scheme}://{name}:{_site.port or 80}" for name in LOOPBACK_NAMES]
ALLOWED_HOSTS = [_site.hostname, *env.list("ALLOWED_HOSTS", default=[])]
SITE_ORIGINS = [f"{_site.scheme}://{_site.netloc}", *env.list("CSRF_TRUSTED_ORIGINS", default=[])]
if SITE_IS_LOOPBACK:
    ALLOWED_HOSTS += LOOPBACK_NAMES
    SITE_ORIGINS += _loopback_origins
if "*" in ALLOWED_HOSTS:
    refuse("ALLOWED_HOSTS must name hosts: * would let any site talk to this one.")
CSRF_TRUSTED_ORIGINS = list(dict.fromkeys(SITE_ORIGINS))
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

DATA_DIR = Path(env.str("BOUGH_DATA_DIR", default=str(BASE_DIR / "data"))).resolve()

INSTALLED_APPS = [
    "apps.accounts",
    "apps.core",
    "apps.models.apps.ModelsConfig",
    "apps.conversations",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "csp",
    "django_htmx",
    "ninja",
    "template_partials.apps.SimpleAppConfig",
]

MIDDLEWARE = [
    "apps.core.middleware.RequestIdMiddleware",
    "apps.core.middleware.ApiAnswersMiddleware",
    "apps.core.middleware.ProbeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "apps.core.middleware.ErrorMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.core.middleware.SignedInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "apps.core.middleware.PrivatePagesMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

_loaders = [
    (
        "template_partials.loader.Loader",
        [
            (
                "django.template.loaders.cached.Loader",
                ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
            )
        ],
    )
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": _loaders,
            "builtins": ["template_partials.templatetags.partials", "apps.core.templatetags.core_tags"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.core.context_processors.frame",
                "csp.context_processors.nonce",
            ],
        },
    }
]


def pooled(database: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of a PostgreSQL database with our pool; what its address says beside (sslmode, …) stays."""
    # Executor threads (8) and request threads (16) share the pool. It waits little and never tries again by itself, for
    # that is done in apps/core/postgres: with psycopg's ever longer pauses half a minute's outage would cost another half.
    pool = {"min_size": 1, "max_size": 24, "timeout": 0.25, "reconnect_timeout": 0}
    options = {"connect_timeout": 5, **database.get("OPTIONS", {}), "pool": pool}
    return {**database, "ENGINE": "apps.core.postgres", "OPTIONS": options, "CONN_MAX_AGE": 0}


# --- storage -------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db_url_config(secret("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'bough.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE and WAL: without them two writers meet "database is locked"; FULL: a commit survives a power cut.
    DATABASES["default"]["ENGINE"] = "apps.core.sqlite"
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000;",
    }
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
    # A thread keeps its connection (core/db.py).
    DATABASES["default"]["CONN_MAX_AGE"] = None
else:
    DATABASES["default"] = pooled(DATABASES["default"])
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or _testing
        else "servestatic.storage.CompressedManifestStaticFilesStorage"
    },
}
# Our modules carry their comments; what is sent need not.
SERVESTATIC_MINIFY = True
# --- shape: empty is embedded, everything in one process --------------------------------------------------------
REDIS_URL = secret("REDIS_URL")
GENERATIONS_HOST = env.str("BOUGH_GENERATIONS", default="inline")
if GENERATIONS_HOST not in ("inline", "external"):
    refuse(f"BOUGH_GENERATIONS is inline or external, not {GENERATIONS_HOST!r}.")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- jobs: what the commands `celery -A config worker` and `beat` read ------------------------------------------
BROKER_DIR = DATA_DIR / "broker"
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1) or "filesystem://localhost"
if REDIS_URL:
    # What a worker took and did not finish within the hour goes to another one.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3_600, "global_keyprefix": "bough:jobs:"}
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.05,
    }
if REDIS_URL.startswith("rediss://"):
    CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": "required"}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# For ever: by itself it gives up after a hundred tries, a few minutes of Redis being away.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_DEFAULT_QUEUE = "bough"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
# Rows say what was done and what is to do; a task's result is nobody's business.
CELERY_TASK_IGNORE_RESULT = True
# A task may run again: acknowledged once it is done, given back when the broker goes away amid it. One that killed
# its worker is not tried again, so that it can't kill the next one, too.
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Threads: one small process, which a signal to its whole group does not tear apart as it does a forking one. They
# know no time limits, so a service that a task calls works in bounded steps.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 4
CELERY_WORKER_REDIRECT_STDOUTS = False
# In memory: a file of last times would have to be kept, and could break. The schedule is in config/celery.py.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

# --- sign-in -------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# One backend, one hash: a second one would answer unknown names in another time than known ones.
AUTHENTICATION_BACKENDS = ["apps.accounts.authentication.Backend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
SIGNUP = env.str("BOUGH_SIGNUP", default="closed")
if SIGNUP not in ("open", "invite", "closed"):
    refuse(f"BOUGH_SIGNUP is open, invite or closed, not {SIGNUP!r}.")
ACCOUNT_ADAPTER = "apps.accounts.adapters.AccountAdapter"
MFA_ADAPTER = "apps.accounts.adapters.MFAAdapter"
ACCOUNT_LOGIN_METHODS = {"email", "username"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# The browser in hand stays signed in; a new password ends every other session all the same.
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
# One address a user: the new one counts once it is confirmed.
ACCOUNT_CHANGE_EMAIL = True
# Whoever finds an open browser must not be able to take the account with it.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key"}
ACCOUNT_FORMS = {
    "login": "apps.accounts.forms.LoginForm",
    "signup": "apps.accounts.forms.SignupForm",
    "change_password": "apps.accounts.forms.ChangePasswordForm",
    "set_password": "apps.accounts.forms.SetPasswordForm",
    "reset_password": "apps.accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "apps.accounts.forms.ResetPasswordKeyForm",
    "add_email": "apps.accounts.forms.ChangeEmailForm",
    "reauthenticate": "apps.accounts.forms.ReauthenticateForm",
}
MFA_FORMS = {
    "authenticate": "apps.accounts.forms.CodeForm",
    "reauthenticate": "apps.accounts.forms.ReauthenticateCodeForm",
    "activate_totp": "apps.accounts.forms.ActivateTOTPForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Bough"
SESSION_COOKIE_AGE = int(timedelta(days=30).total_seconds())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "apps.core.views.csrf_failure"
_secure = _site.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _secure
# Health probes come to the process itself, over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _secure
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# One body may carry a message of 50,000 characters in any script, as JSON or as a form.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000

_self = ["'self'"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'", NONCE],
        "style-src": _self,
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": _self,
        "connect-src": _self,
        "form-action": _self,
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "manifest-src": _self,
        "object-src": ["'none'"],
    }
}

# --- language, time, mail, logs, figures ------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
vars().update(env.email_url_config(secret("EMAIL_URL", "consolemail://")))
# Opens /metrics; without it private addresses may look.
METRICS_TOKEN = secret("BOUGH_METRICS_TOKEN")
if 0 < len(METRICS_TOKEN) < 16:
    refuse("BOUGH_METRICS_TOKEN is shorter than 16 characters.")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
LOG_FORMAT = env.str("LOG_FORMAT", default="text")
if LOG_FORMAT not in ("text", "json"):
    refuse(f"LOG_FORMAT is text or json, not {LOG_FORMAT!r}.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "apps.core.logs.TextFormatter"},
        "json": {"()": "apps.core.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "apps.core.logs.LineHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}

# --- models and generations -------------------------------------------------------------------------------------
PROVIDER_ENVIRONMENT = {
    "openai_api_key": secret("OPENAI_API_KEY"),
    "openai_base_url": env.str("OPENAI_BASE_URL", default=""),
    "anthropic_api_key": secret("ANTHROPIC_API_KEY"),
    "gemini_api_key": secret("GEMINI_API_KEY"),
    "openrouter_api_key": secret("OPENROUTER_API_KEY"),
    "ollama_base_url": env.str("OLLAMA_BASE_URL", default=""),
}
DEFAULT_MODEL = env.str("BOUGH_DEFAULT_MODEL", default="")
TITLE_MODEL = env.str("BOUGH_TITLE_MODEL", default="")

# A shorter lease ends the answers of a killed runner sooner, and a pause of a machine may look like a death.
_lease = env.int("BOUGH_LEASE_SECONDS", default=30)
if _lease < 3:
    refuse("BOUGH_LEASE_SECONDS is at least 3: leases are renewed each second.")
GENERATION = {
    "first_delta_seconds": 60,
    "between_deltas_seconds": 40,
    "total_seconds": 15 * 60,
    "answer_bytes": 200_000,
    "lease_seconds": _lease,
    "heartbeat_seconds": 1,
    "drain_seconds": 20,
    "flush_seconds": 0.05,
    "slow_flush_seconds": 0.2,
    "retries": 2,
}
MESSAGE_CHARACTERS = 50_000
# How many answers each user may have within a window, and at once.
_rate = env.str("BOUGH_RATE_GENERATIONS", default="120/2h")
if (_parsed := re.fullmatch(r"(\d+)/(\d*)([smhd])", _rate)) is None:
    refuse(f"BOUGH_RATE_GENERATIONS looks like 120/2h, not {_rate!r}.")
else:
    GENERATIONS_PER_USER = int(_parsed[1])
    GENERATIONS_WINDOW_SECONDS = int(_parsed[2] or 1) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[_parsed[3]]
GENERATIONS_AT_ONCE = env.int("BOUGH_CONCURRENT_GENERATIONS", default=20)
# Open tabs of one user in each web process; a further one asks for its text in place of a socket.
SOCKETS_PER_USER = env.int("BOUGH_SOCKETS_PER_USER", default=20)
