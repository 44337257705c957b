"""`make soak`: an hour of people and faults on one shape, or on both. SOAK_MINUTES, SOAK_SHAPE, SOAK_USERS, SOAK_SEED."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.process.installation import Installation
from tests.servers import running_postgres, running_redis
from tests.soak.soak import Plan, soak
from tests.upstream.fixtures import RunningUpstream


def main() -> int:
    """Soak, print what came of it, and give 1 if anything was wrong."""
    plan = Plan(
        seconds=float(os.environ.get("SOAK_MINUTES", "60")) * 60,
        users=int(os.environ.get("SOAK_USERS", "20")),
        seed=int(os.environ.get("SOAK_SEED", "1")),
    )
    shapes = os.environ.get("SOAK_SHAPE", "embedded,scaled").split(",")
    return max([_soak(shape.strip(), plan) for shape in shapes])


def _soak(shape: str, plan: Plan) -> int:
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bough-soak-", ignore_cleanup_errors=True))
        )
        provider = RunningUpstream()
        stack.callback(provider.stop)
        servers = {}
        if shape == "scaled":
            postgres, redis = stack.enter_context(running_postgres()), stack.enter_context(running_redis())
            servers = {"postgres": postgres, "redis": redis, "runners": 2}
        elif shape != "embedded":
            sys.exit(f"SOAK_SHAPE is embedded or scaled, not {shape!r}.")
        installation = Installation(folder, upstream=provider.url, **servers)
        stack.callback(installation.stop_all, signal.SIGKILL)
        installation.make_database(plan.users)
        installation.start_all()
        report = asyncio.run(soak(installation, provider, plan))
        print(report, flush=True)
        if report.problems and (kept := os.environ.get("SOAK_LOGS")):
            for log in folder.glob("*.log"):
                (Path(kept) / f"{shape}-{log.name}").write_bytes(log.read_bytes())
        return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
