"""Sends one request after the other to the gateway. Never two at a time: so what happens to one is easy to follow."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from aiohttp import ClientError, ClientSession

from examples.demo.layout import LOOPBACK

PAUSE = 0.015
"""Seconds between two requests: the demo is to be watched, not to make the machine hot."""


class Load:
    """What came back, by status; 0 where nothing did."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{LOOPBACK}:{port}/"
        self.statuses: Counter[int] = Counter()

    @property
    def requests(self) -> int:
        return self.statuses.total()

    @property
    def errors(self) -> int:
        return self.requests - self.statuses[200]

    async def works(self, patience: float) -> bool:
        """Wait for the first good answer; those before it do not count."""
        end = time.monotonic() + patience
        async with ClientSession() as session:
            while time.monotonic() < end:
                if await self._ask(session) == 200:
                    return True
                await asyncio.sleep(0.1)
        return False

    async def run(self) -> None:
        """Until cancelled."""
        async with ClientSession() as session:
            while True:
                self.statuses[await self._ask(session)] += 1
                await asyncio.sleep(PAUSE)

    async def _ask(self, session: ClientSession) -> int:
        try:
            async with session.get(self._url, headers={"host": "shop.demo"}) as answer:
                await answer.read()
                return answer.status
        except ClientError:
            return 0
