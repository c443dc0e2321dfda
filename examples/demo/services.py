"""The three services of the demo: shop asks catalog, catalog asks stock, each by way of its own sidecar.

A service has nothing to do with TLS, retries or balancing. All that tracing asks of it is to pass on a few headers.
"""

from __future__ import annotations

import asyncio
import random

from aiohttp import ClientError, ClientSession, web

from examples.demo.layout import LOOPBACK, Node

PASSED_ON = ("x-request-id", "traceparent", "tracestate", "baggage")


class Service:
    """One instance. Listens on a free port from `start` to `stop`; while it is `ill` it answers 503."""

    def __init__(self, node: Node, slow: float) -> None:
        """`slow` is its mean time to answer, in seconds, without what it waits for others."""
        self.node = node
        self.port = 0
        self.ill = False
        self.refused = 0
        """Requests that it answered while it was ill."""
        self._slow = slow
        self._next = ""
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._session = ClientSession()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        self.port = self._runner.addresses[0][1]

    def calls(self, port: int) -> None:
        """Where its sidecar takes requests for the next service."""
        self._next = f"http://{LOOPBACK}:{port}/"

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if self.ill:
            self.refused += 1
            return web.json_response({"service": self.node.name, "error": "I am ill"}, status=503)
        await asyncio.sleep(random.expovariate(1 / self._slow))
        told = {"service": self.node.service, "instance": self.node.name, "version": self.node.version}
        if not self._next:
            return web.json_response(told)
        status, answer = await self._ask(request)
        return web.json_response({**told, self.node.calls: answer}, status=status)

    async def _ask(self, request: web.Request) -> tuple[int, object]:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        assert self._session is not None
        try:
            async with self._session.get(self._next, headers=headers) as answer:
                text = await answer.text()
                return answer.status, await answer.json() if answer.content_type == "application/json" else text
        except ClientError as error:
            return 503, str(error)
