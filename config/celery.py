"""The Celery application: workers run tasks, beat sends the scheduled ones. Run as `celery -A config worker`.

Everything but the schedule stands in settings under `CELERY_`. The web process imports none of this.
"""

import os
from datetime import timedelta
from typing import Any

import django
from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging, worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402  (after Django is set up)

from apps.conversations.services import live  # noqa: E402


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Stand in for Celery's own logging, which would replace levels and handlers: Django has set up what settings say."""


@worker_init.connect
def connect_bus(**_: Any) -> None:
    """Let readers and runners hear at once of what a task ends or queues again."""
    live.start_bus_in_thread()


app = Celery("bough")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
if not settings.REDIS_URL:
    for folder in ("messages", "control"):
        (settings.BROKER_DIR / folder).mkdir(parents=True, exist_ok=True)

# Two schedulers at once send everything twice, which does no harm. A message that no worker took in time is dropped.
app.conf.beat_schedule = {
    "sweep": {"task": "sweep", "schedule": timedelta(minutes=1), "options": {"expires": 55}},
    "sweep-whole": {
        "task": "sweep",
        "schedule": crontab(minute="30", hour="*"),
        "kwargs": {"whole": True},
        "options": {"expires": 3_600},
    },
}
