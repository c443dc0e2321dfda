"""The journal: whatever is written, and whenever somebody begins to read, both know the same."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyproxy.config.resources import ResourceType
from pyproxy.server.discovery import journal as module
from pyproxy.server.discovery.journal import Journal, JournalReader, JournalWriter, Operation, Record, unpack

KINDS = st.sampled_from(list(ResourceType))
NAMES = st.sampled_from(["a", "b", "ü\0x", "long" * 50])
BODIES = st.binary(max_size=600)


class Follower:
    """What a worker makes of the records: the state, by kind and name."""

    def __init__(self, journal: Journal) -> None:
        self.reader = JournalReader(journal)
        self.state: dict[tuple[ResourceType, str], bytes] = {}
        self.epoch = 0
        self.seen: set[tuple[ResourceType, str]] = set()

    def catch_up(self) -> None:
        while records := self.reader.read():
            if self.reader.epoch != self.epoch:
                self.epoch, self.seen = self.reader.epoch, set()
            for record in records:
                key = (record.kind, record.name)
                if record.operation is Operation.PUT:
                    self.state[key] = record.body
                    self.seen.add(key)
                elif record.operation is Operation.REMOVE:
                    self.state.pop(key, None)
                elif record.operation is Operation.WHOLE:
                    self.state = {key: body for key, body in self.state.items() if key in self.seen}


class JournalMachine(RuleBasedStateMachine):
    """A writer, a reader that looks now and then, and one that begins at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal()
        self.writer = JournalWriter(self.journal)
        self.truth: dict[tuple[ResourceType, str], bytes] = {}
        self.follower = Follower(self.journal)

    def teardown(self) -> None:
        self.journal.close()

    @rule(kind=KINDS, name=NAMES, body=BODIES)
    def put(self, kind: ResourceType, name: str, body: bytes) -> None:
        self.truth[kind, name] = body
        self.writer.append([Record(Operation.PUT, kind, name, "v", body, 1.5)])

    @rule(kind=KINDS, name=NAMES)
    def remove(self, kind: ResourceType, name: str) -> None:
        if self.truth.pop((kind, name), None) is not None:
            self.writer.append([Record(Operation.REMOVE, kind, name)])

    @rule()
    def write_anew(self) -> None:
        self.writer.rewrite(Record(Operation.PUT, kind, name, "v", body) for (kind, name), body in self.truth.items())

    @rule()
    def look(self) -> None:
        self.follower.catch_up()
        assert self.follower.state == self.truth

    @invariant()
    def who_begins_now_knows_everything(self) -> None:
        late = Follower(self.journal)
        late.catch_up()
        assert late.state == self.truth


JournalMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestJournal = JournalMachine.TestCase


@pytest.fixture
def journal() -> object:
    made = Journal()
    yield made
    made.close()


def test_a_record_is_what_it_was(journal: Journal) -> None:
    record = Record(Operation.PUT, ResourceType.ROUTES, "ä\0slot", "v7", b"\x00\xff", 12.25, True)
    assert [one for one, _ in unpack(record.pack())] == [record]
    assert list(unpack(record.pack()[:-1])) == []


def test_a_record_that_is_larger_than_what_is_read_at_once(journal: Journal) -> None:
    body = os.urandom(module._CHUNK * 2)
    JournalWriter(journal).append([Record(Operation.PUT, name="big", body=body), Record(Operation.READY)])
    reader = JournalReader(journal)
    assert [one.body for one in reader.read()] == [body]
    assert [one.operation for one in reader.read()] == [Operation.READY]
    assert reader.read() == []


def test_what_a_writer_did_not_finish_does_not_count(journal: Journal) -> None:
    writer = JournalWriter(journal)
    writer.append([Record(Operation.PUT, name="a", body=b"1")])
    _, end = journal.state
    os.pwrite(journal.files[0], b"half of a record", end)
    assert [one.name for one in JournalReader(journal).read()] == ["a"]
    JournalWriter(journal).append([Record(Operation.PUT, name="b")])
    assert [one.name for one in JournalReader(journal).read()] == ["a", "b"]


def test_memory_is_given_back(journal: Journal) -> None:
    writer = JournalWriter(journal)
    for _ in range(30):
        writer.append([Record(Operation.PUT, name="a", body=bytes(100_000))])
    assert writer.wasteful(100_000)
    writer.rewrite([Record(Operation.PUT, name="a", body=b"1")])
    assert sum(os.fstat(file).st_size for file in journal.files) < 1000
    assert not writer.wasteful(100)
