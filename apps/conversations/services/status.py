"""How the installation is, in one look: what it runs on, who works, what waits, what failed. Plain values, for a command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import ProgrammingError, connection
from django.db.models import Count
from django.utils import timezone

from apps.conversations.models import Generation, GenerationState
from apps.conversations.services import queue, runners
from apps.core import health
from apps.core.db import DATABASE_AWAY
from apps.core.health import Unhealthy
from apps.core.version import version
from apps.models.services import catalogue
from apps.providers import registry

R = TypeVar("R")
RECENT = timedelta(hours=1)
# An answer that waits for less than this may only just have come. Units: seconds.
MAY_WAIT = 5.0
REDIS_SECONDS = 2.0


def look() -> dict[str, Any]:
    """Gather everything; what can't be told is None, and `problems` says in sentences what is wrong.

    Effects: some small queries, one call to Redis, and providers are asked for their models; each bounded.
    """
    problems: list[str] = []
    found: dict[str, Any] = {
        "version": version(),
        "shape": "scaled" if settings.REDIS_URL else "embedded",
        "generations": settings.GENERATIONS_HOST,
        "database": _or_none(_database, problems),
        "redis": _redis(problems) if settings.REDIS_URL else None,
        "runners": _or_none(_runners),
        "queue": _or_none(_queue),
        "models": _models(),
        "disk": _disk(problems),
        "failures": _or_none(_failures),
        "problems": problems,
    }
    _judge(found, problems)
    return found


def _or_none(tell: Callable[[], R], problems: list[str] | None = None) -> R | None:
    try:
        return tell()
    except (*DATABASE_AWAY, ProgrammingError) as error:  # the last where tables are missing
        if problems is not None:
            problems.append(f"The database can't be reached: {str(error).partition(chr(10))[0]}")
        return None


def _judge(found: dict[str, Any], problems: list[str]) -> None:
    database, waiting = found["database"], found["queue"]
    if database is not None and database["migrations_waiting"]:
        problems.append(f"Migrations are not applied ({database['migrations_waiting']}): run manage.py migrate.")
    if (
        waiting is not None
        and waiting["oldest_seconds"] > MAY_WAIT
        and not any(one["alive"] for one in found["runners"] or ())
    ):
        problems.append("Work is queued, and no runner was heard of lately.")


def _database() -> dict[str, Any]:
    if connection.vendor == "sqlite":
        release, size = (
            "SELECT sqlite_version()",
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        )
    else:
        release, size = "SHOW server_version", "SELECT pg_database_size(current_database())"
    with connection.cursor() as cursor:
        cursor.execute(release)
        told = str(cursor.fetchone()[0]).split()[0]
        cursor.execute(size)
        number = int(cursor.fetchone()[0])
    return {
        "vendor": connection.vendor,
        "version": told,
        "bytes": number,
        "migrations_waiting": health.count_waiting_migrations(),
    }


def _redis(problems: list[str]) -> dict[str, Any]:
    from redis import Redis, RedisError  # noqa: PLC0415  (the embedded shape needs none of it)

    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        ) as client:
            told: Any = client.info()
    except (RedisError, OSError) as error:
        problems.append(f"Redis can't be reached ({type(error).__name__}).")
        return {"connected": False, "version": None, "bytes": None}
    return {"connected": True, "version": told["redis_version"], "bytes": told["used_memory"]}


def _runners() -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "started_at": one.started_at.isoformat(),
            "seconds_since_seen": round(max(0.0, one.age.total_seconds()), 1),
            "alive": one.age.total_seconds() <= runners.GONE_SECONDS,
            "active": one.active,
            "concurrency": one.concurrency,
            "draining": one.draining,
        }
        for one in runners.known()
    ]


def _queue() -> dict[str, Any]:
    found = queue.measure()
    return {"queued": found.queued, "running": found.running, "oldest_seconds": round(found.oldest_seconds, 1)}


def _models() -> dict[str, int]:
    """Count the models of each provider that is configured, also where it lists none."""
    counts = dict.fromkeys(registry.current(), 0)
    for model in catalogue.available():
        slug = model.model_id.partition("/")[0]
        counts[slug] = counts.get(slug, 0) + 1
    return counts


def _disk(problems: list[str]) -> dict[str, Any] | None:
    try:
        usage = health.disk_usage()
    except Unhealthy as problem:
        problems.append(f"{str(problem).capitalize()}.")
        return None
    if health.is_almost_full(usage):
        problems.append("The disk is almost full.")
    return {"free_bytes": usage.free, "bytes": usage.total}


def _failures() -> dict[str, Any]:
    """Count the answers that failed lately, by code. Effects: one query over what was queued lately."""
    since = timezone.now() - RECENT
    longest = timedelta(seconds=settings.GENERATION["total_seconds"])
    failed = Generation.objects.answers().filter(
        state=GenerationState.FAILED, queued_at__gte=since - longest, finished_at__gte=since
    )
    codes = dict(failed.values_list("error_code").annotate(number=Count("pk")).order_by("-number", "error_code"))
    return {"number": sum(codes.values()), "codes": codes}
