"""Files that change, and files that change into something useless."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pyproxy.network import secret_watch
from pyproxy.network.secret_watch import SecretWatch


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_watch, "INTERVAL", 0.01)


async def test_a_change_is_told_once_and_a_failure_until_it_passes(quick: None, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    calls: list[str] = []

    def reload() -> None:
        calls.append(file.read_text())
        if calls[-1] == "bad":
            raise ValueError

    watch = SecretWatch(asyncio.get_running_loop())
    forget = watch.watch((str(file),), reload)
    await asyncio.sleep(0.05)
    assert calls == []
    file.write_text("second")
    await asyncio.sleep(0.05)
    assert calls == ["second"]
    file.write_text("bad")
    await asyncio.sleep(0.05)
    assert len(calls) > 2
    assert set(calls[1:]) == {"bad"}
    file.write_text("good again")
    await asyncio.sleep(0.05)
    assert calls.count("good again") == 1
    forget()
    file.write_text("nobody looks")
    await asyncio.sleep(0.05)
    assert calls[-1] == "good again"
    watch.close()


async def test_a_swapped_link_and_a_missing_file(quick: None, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    link = tmp_path / "data"
    link.symlink_to("one")
    calls: list[int] = []
    watch = SecretWatch(asyncio.get_running_loop())
    watch.watch((str(link / "key"),), lambda: calls.append(1))
    fresh = tmp_path / "fresh"
    fresh.symlink_to("two")
    fresh.rename(link)
    await asyncio.sleep(0.05)
    assert calls == [1]
    (tmp_path / "two" / "key").unlink()
    await asyncio.sleep(0.05)
    assert calls == [1, 1]
    watch.close()
