"""Events: kept, followed, written down, and those that the manager sees by itself."""

from __future__ import annotations

import asyncio
import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509

from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.descriptors import message_class
from pyproxy.config.listener import FilterChainConfig, ListenerConfig
from pyproxy.config.tls import DownstreamTlsConfig, TlsCertificate, TlsConfig
from pyproxy.server.crew import CrewReport, Phase, WorkerReport
from pyproxy.server.event_hub import KEPT, EventHub
from pyproxy.server.event_sources import ExpiryWatch, tell_crew, tell_start
from pyproxy.telemetry.events import Event, EventKind, EventOutbox, Severity
from tests.support.certificates import Authority

HOUR = datetime.timedelta(hours=1)


def told(hub: EventHub) -> list[tuple[str, str, str]]:
    return [(one.event.kind.value, one.event.subject, one.event.message) for one in hub.kept()]


def test_only_the_last_are_kept() -> None:
    hub = EventHub("")
    for number in range(KEPT + 5):
        hub.emit(EventKind.ADMIN_ACTION, "x", str(number))
    kept = hub.kept()
    assert (len(kept), kept[0].number, kept[-1].number) == (KEPT, 6, KEPT + 5)
    assert len(hub.kept(since=KEPT)) == 5
    assert hub.kept(kind="worker") == []


async def test_who_follows_gets_the_old_ones_first_and_then_each() -> None:
    hub = EventHub("")
    hub.emit(EventKind.WORKER_STARTED, "worker 0", "old")
    hub.emit(EventKind.DRAIN_PHASE, "proxy", "not wanted")
    seen: list[str] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for one in hub.follow(kind="worker"):
            seen.append(one.event.message)
            first.set()

    following = asyncio.get_running_loop().create_task(follow())
    await first.wait()
    hub.emit(EventKind.WORKER_ENDED, "worker 0", "new")
    hub.emit(EventKind.DRAIN_PHASE, "proxy", "not wanted")
    hub.close()
    await following
    assert seen == ["old", "new"]


async def test_who_does_not_read_loses_the_oldest_and_holds_nobody_up() -> None:
    hub = EventHub("")
    following = hub.follow()
    hub.emit(EventKind.ADMIN_ACTION, "x", "first")
    assert (await anext(following)).event.message == "first"
    for number in range(2 * KEPT):
        hub.emit(EventKind.ADMIN_ACTION, "x", str(number))
    assert (await anext(following)).event.message == str(KEPT)
    await following.aclose()  # type: ignore[attr-defined]


def test_each_is_a_line_of_json(tmp_path: Path) -> None:
    hub = EventHub(str(tmp_path / "events"))
    hub.take(Event(EventKind.CERTIFICATE_ROTATED, "a.pem", "é", 1.5, {"worker": 0}))
    (tmp_path / "events").rename(tmp_path / "old")
    hub.reopen()
    hub.emit(EventKind.ADMIN_ACTION, "x", "y")
    hub.close()
    assert json.loads((tmp_path / "old").read_text()) == {
        "id": 1,
        "time": "1970-01-01T00:00:01.500Z",
        "kind": "certificate.rotated",
        "severity": "INFO",
        "subject": "a.pem",
        "message": "é",
        "fields": {"worker": 0},
    }
    assert json.loads((tmp_path / "events").read_text())["id"] == 2


def test_a_file_that_cannot_be_written_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = EventHub(str(tmp_path / "none" / "events"))
    hub.emit(EventKind.ADMIN_ACTION, "x", "y")
    assert "events cannot be written" in caplog.text
    assert len(hub.kept()) == 1


def test_an_outbox_goes_through_the_channel() -> None:
    box = EventOutbox(worker=3)
    box.emit(EventKind.HOST_EJECTED, "up 127.0.0.1:1", "5 errors in a row", errors=5)
    (event,) = box.take()
    assert box.take() == []
    assert Event.of_message(json.loads(json.dumps(event.as_message()))) == event
    assert (event.fields, event.severity) == ({"worker": 3, "errors": 5}, Severity.WARN)


def test_the_start_is_told() -> None:
    hub = EventHub("")
    tell_start(BootstrapConfig(listeners=(ListenerConfig("web", (AddressConfig("::1", 80),)),)), hub)
    assert told(hub) == [
        ("config.applied", "bootstrap", "started with 1 listeners and 0 clusters"),
        ("listener.added", "web", "listens on [::1]:80"),
    ]


def test_processes_are_told() -> None:
    hub = EventHub("")
    first = CrewReport(Phase.SERVING, (WorkerReport(0, 10),))
    gone = CrewReport(Phase.SERVING, (WorkerReport(0, 0, 1, "killed by SIGKILL"),))
    again = CrewReport(Phase.SERVING, (WorkerReport(0, 11, 1, "killed by SIGKILL"),))
    draining = CrewReport(Phase.DRAINING, (WorkerReport(0, 11, 1),))
    over = CrewReport(Phase.DRAINING, (WorkerReport(0, 0, 1, "exit code 0"),))
    for before, now in ((CrewReport(), first), (first, gone), (gone, again), (again, draining), (draining, over)):
        tell_crew(before, now, hub)
    assert told(hub) == [
        ("worker.started", "worker 0", "pid 10"),
        ("worker.ended", "worker 0", "killed by SIGKILL"),
        ("worker.started", "worker 0", "pid 11, restart 1"),
        ("drain.phase", "proxy", "serving -> draining"),
        ("worker.ended", "worker 0", "exit code 0"),
    ]
    assert [one.event.severity.name for one in hub.kept(kind="worker.ended")] == ["WARN", "INFO"]


def test_certificates_that_end_soon_are_told_once_for_each_limit(tmp_path: Path) -> None:
    chain = Path(Authority(tmp_path).issue("web")[0]).read_bytes()
    tls = DownstreamTlsConfig(TlsConfig(certificates=(TlsCertificate(chain, b"", path="web.pem"),)))
    listener = ListenerConfig("web", (), (FilterChainConfig(tls=tls),))
    hub = EventHub("")
    watch = ExpiryWatch(BootstrapConfig(listeners=(listener,)), hub)

    end = x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
    left = [watch.look(end - before * HOUR) for before in (24 * 40, 24 * 20, 24 * 19, 12, -1)]
    assert left == [40, 20, 19, 0, 0]
    assert ExpiryWatch(BootstrapConfig(), hub).look(end) is None
    messages = [message for _, _, message in told(hub)]
    assert messages == [
        "is valid for less than 30 days",
        "is valid for less than 1 days",
    ]
    assert {subject for _, subject, _ in told(hub)} == {"web.pem"}


def test_certificates_that_came_by_sds_are_watched(tmp_path: Path) -> None:
    chain = Path(Authority(tmp_path).issue("web")[0]).read_bytes()
    secret = message_class("envoy.extensions.transport_sockets.tls.v3.Secret")(name="own")
    secret.tls_certificate.certificate_chain.inline_bytes = chain  # type: ignore[attr-defined]
    hub = EventHub("")
    watch = ExpiryWatch(BootstrapConfig(), hub, secrets=lambda: {"slot": secret.SerializeToString()})
    end = x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
    assert watch.look(end - 12 * HOUR) == 0
    assert told(hub) == [("certificate.near_expiry", "own", "is valid for less than 1 days")]
