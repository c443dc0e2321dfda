"""Several tries of one request at once: whoever awaits the race is told what happens to each (Envoy: hedging)."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, NamedTuple

from pyproxy.clusters.one_try import Try
from pyproxy.errors import ProxyError
from pyproxy.filters.http.router.pause import Pause
from pyproxy.http.drive import Drive, Waiter
from pyproxy.http.message import Response


class News(NamedTuple):
    """An answer, an error, or neither: then the try takes long, or, without a try, a pause is over."""

    attempt: Try | None
    response: Response | None = None
    error: ProxyError | None = None


class Race(Waiter):
    """`await` gives the next `News`. `running` are the tries that are under way."""

    __slots__ = ("_news", "running")

    def __init__(self) -> None:
        self.drive = None
        self.over = False
        self._news: deque[News] = deque()
        self.running: list[Try] = []

    def __await__(self) -> Generator[Any, None, News]:
        if not self._news:
            self.over = False
            yield self
        return self._news.popleft()

    def join(self, attempt: Try) -> None:
        self.running.append(attempt)
        Leg(self, attempt).run(_answer(attempt))

    def after(self, pause: Pause) -> None:
        """Tell when a pause is over."""
        Leg(self, None).run(_end(pause))

    def slow(self, attempt: Try) -> None:
        """The try takes longer than a try should."""
        self.tell(News(attempt))

    def leave(self) -> None:
        """Nobody waits for those that still run."""
        running, self.running = self.running, []
        for attempt in running:
            attempt.abandon()

    def tell(self, news: News) -> None:
        self._news.append(news)
        if self.drive is not None:
            self.wake()


class Leg(Drive):
    """Watches one try."""

    __slots__ = ("_attempt", "_race")

    def __init__(self, race: Race, attempt: Try | None) -> None:
        super().__init__()
        self._race = race
        self._attempt = attempt

    def on_return(self, value: Any) -> None:
        self._done(News(self._attempt, response=value))

    def on_raise(self, error: BaseException) -> None:
        assert isinstance(error, ProxyError)
        self._done(News(self._attempt, error=error))

    def _done(self, news: News) -> None:
        race, attempt = self._race, self._attempt
        if attempt is not None:
            if attempt not in race.running:
                return  # it was left
            race.running.remove(attempt)
        race.tell(news)


async def _answer(attempt: Try) -> Response:
    return await attempt


async def _end(pause: Pause) -> None:
    await pause
