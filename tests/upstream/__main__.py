"""Run the fake upstream by hand: python -m tests.upstream --port 9100."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from tests.upstream.server import Upstream


async def serve(port: int) -> None:
    upstream = Upstream()
    bound = await upstream.start(port)
    print(f"http://127.0.0.1:{bound}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
