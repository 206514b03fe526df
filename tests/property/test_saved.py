"""Saves: a shard that goes on from what was stored is the shard that was never stopped."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.feeding import feed
from tests.oracle.logs import START, WINDOW, clock, event, logs
from tests.oracle.read import content
from tests.oracle.shard import TOPICS, Item
from twin.errors import ConfigError, StoreError, TwinBug
from twin.ids import Ids
from twin.mirror import MirrorShard
from twin.shards.saved import GAP, ShardSave, StoredShard, StoredTable, decode_head, encode_head, save_tables
from twin.shards.shard import SCHEMA, Cut, Shard, empty_tables
from twin.shards.table import Table

topics = pytest.mark.parametrize("topic", sorted(TOPICS))


class Disk:
    """What a store keeps of one shard, written out plainly."""

    def __init__(self) -> None:
        self.head = b""
        self.rows: dict[str, bytes] = {}
        self.ids: dict[str, dict[int, str]] = {}
        self.texts: dict[str, dict[str, list[str]]] = {}

    def write(self, save: ShardSave) -> None:
        self.head = save.head
        for name, table in save.tables.items():
            rows = self.rows.get(name, b"")
            for at, run in table.runs:
                rows = rows[:at].ljust(at, b"\0") + run + rows[at + len(run) :]
            self.rows[name] = rows
            ids = self.ids.setdefault(name, {}) | dict(table.ids)
            self.ids[name] = {row: entity for row, entity in ids.items() if entity is not None}
            texts = self.texts.setdefault(name, {})
            for column, new in table.texts.items():
                texts[column] = texts.get(column, []) + new

    def stored(self) -> StoredShard:
        return StoredShard(
            self.head, {name: StoredTable(self.rows[name], self.ids[name], self.texts[name]) for name in self.rows}
        )


def everything(shard: Shard) -> tuple[object, ...]:
    """All that is state in a shard."""
    return content(shard.tables), shard.clock, shard.counts, shard._sums, shard._serial


@topics
@settings(max_examples=60)
@given(data=st.data())
def test_a_shard_that_crashes_and_goes_on_from_its_last_save_is_one_that_never_stopped(
    topic: str, data: st.DataObject
) -> None:
    items = data.draw(logs(topic))
    plain = Shard(topic, 0)
    expected = [feed(plain, [item], at) for at, item in enumerate(items)]
    shard, disk, saved = Shard(topic, 0, saved=True), Disk(), 0
    disk.write(shard.save())
    cuts: list[Cut] = []
    unsaved: list[Cut] = []
    at = 0
    events = data.draw(st.lists(st.sampled_from(["fold", "fold", "save", "crash"]), max_size=40))
    for what in [*events, *["fold"] * (len(items) + 1)]:
        if what == "save":
            disk.write(shard.save())
            cuts, unsaved, saved = [*cuts, *unsaved], [], at
        elif what == "crash":
            shard = Shard.load(topic, 0, disk.stored())
            at, unsaved = saved, []
        elif at < len(items):
            size = data.draw(st.integers(1, 9))
            more, dead = feed(shard, items[at : at + size], at)
            assert dead == [letter for _, letters in expected[at : at + size] for letter in letters]
            unsaved += more
            at += size
    at = len(items)
    assert everything(shard) == everything(plain)
    _assert_same_cuts(topic, [*cuts, *unsaved], [cut for made, _ in expected for cut in made])


def _assert_same_cuts(topic: str, cuts: list[Cut], expected: list[Cut]) -> None:
    """A mirror that follows one or the other holds the same at every cut."""
    mirror, other = (MirrorShard(topic, 0, empty_tables(topic)) for _ in range(2))
    for cut, known in zip(cuts, expected, strict=True):
        for name in ("window", "skipped", "serial", "next", "time", "window_ms", "lateness_ms", "sums"):
            assert getattr(cut, name) == getattr(known, name), name
        mirror.apply(cut)
        other.apply(known)
        assert content(mirror.tables) == content(other.tables)
        assert (mirror.sha(), mirror.counts) == (other.sha(), other.counts)


@topics
@settings(max_examples=60)
@given(data=st.data())
def test_runs_in_order_give_the_rows_and_say_each_change_once(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard, disk = Shard(topic, 0, saved=True), Disk()
    for at, item in enumerate(items):
        feed(shard, [item], at)
        if data.draw(st.booleans()):
            disk.write(shard.save())
    disk.write(shard.save())
    for name, table in shard.tables.items():
        assert disk.rows.get(name, b"") == table.rows[: table.count].tobytes()
        assert disk.ids.get(name, {}) == {row: entity for row, entity in enumerate(table.ids.names) if entity}
        assert all(disk.texts.get(name, {}).get(c, []) == t.names[1:] for c, t in table.texts.items())
    assert shard.save().tables == {}


@given(
    changed=st.sets(st.integers(0, 60), min_size=1),
    width=st.sampled_from([8, 40, GAP // 2, GAP, GAP + 8, 2 * GAP]),
)
def test_neighbouring_rows_are_one_run_and_so_are_those_over_a_small_gap(changed: set[int], width: int) -> None:
    table = Table("t", np.dtype([("a", "<i8"), ("b", f"V{width - 8}")] if width > 8 else [("a", "<i8")]))
    table.assign([f"e{i}" for i in range(61)])
    table.rows["a"] = 1 + np.arange(len(table.rows))
    table.touch(np.array(sorted(changed)))
    runs = save_tables({"t": table})["t"].runs
    memory = table.rows.tobytes()
    assert all(memory[at : at + len(run)] == run for at, run in runs)
    covered = [set(range(at // width, (at + len(run)) // width)) for at, run in runs]
    assert all({min(rows), max(rows)} <= changed for rows in covered)
    assert set().union(*covered) >= changed
    gaps = [min(b) - max(a) - 1 for a, b in pairwise(covered)]
    assert all(gap * width > GAP for gap in gaps)
    inside = [sorted(rows & changed) for rows in covered]
    assert all((b - a - 1) * width <= GAP for rows in inside for a, b in pairwise(rows))


def _some_saved() -> tuple[Shard, StoredShard]:
    shard, disk = Shard("tasks", 0, saved=True), Disk()
    items: list[Item] = [clock(START)]
    items += [event("tasks", 3 + i % 2 * 2, i % 3, i, t=START, variation=i) for i in range(40)]
    feed(shard, [*items, clock(START + WINDOW)])
    disk.write(shard.save())
    return shard, disk.stored()


def test_another_schema_is_refused_with_what_to_do() -> None:
    shard, stored = _some_saved()
    head = decode_head(stored.head, SCHEMA, "tasks-0")
    newer = encode_head({"schema": SCHEMA + 1, "else": 1})
    with pytest.raises(
        ConfigError, match=rf"tasks-0: .* schema {SCHEMA + 1}, .* reads {SCHEMA}\. Run .* CPN_NAMESPACE"
    ):
        Shard.load("tasks", 0, StoredShard(newer, stored.tables))
    assert head.serial == 1
    assert everything(Shard.load("tasks", 0, stored)) == everything(shard)


def test_what_is_not_whole_is_refused() -> None:
    _, stored = _some_saved()
    table = stored.tables["tasks"]
    column = next(iter(table.texts))
    rows, ids, texts = table.rows, table.ids, table.texts
    broken = {
        "half a row": StoredTable(rows[:-1], ids, texts),
        "a row less": StoredTable(rows[: len(rows) // len(ids) * (len(ids) - 1)], ids, texts),
        "an id too far": StoredTable(rows, ids | {99: "x"}, texts),
        "an id twice": StoredTable(rows, ids | {0: ids[1]}, texts),
        "a text less": StoredTable(rows, ids, texts | {column: texts[column][:-1]}),
    }
    for table in broken.values():
        with pytest.raises(StoreError, match="tasks-0: the stored table tasks is not whole"):
            Shard.load("tasks", 0, StoredShard(stored.head, {"tasks": table}))
    with pytest.raises(StoreError, match="not whole"):
        Shard.load("tasks", 0, StoredShard(stored.head, {}))
    with pytest.raises(StoreError, match="not those of the topic"):
        Shard.load("power", 0, stored)
    for head in (b"", stored.head[:-1], b"\xff" * 8):
        with pytest.raises(StoreError, match="head cannot be read"):
            Shard.load("tasks", 0, StoredShard(head, stored.tables))


def test_a_shard_that_keeps_no_track_of_changes_cannot_be_saved() -> None:
    with pytest.raises(TwinBug, match="power-3"):
        Shard("power", 3).save()


def test_the_first_cut_after_a_load_is_a_base_and_the_next_is_a_delta() -> None:
    _, stored = _some_saved()
    shard = Shard.load("tasks", 0, stored, base_every=64)
    cuts, _ = feed(shard, [clock(START + i * WINDOW) for i in range(2, 5)])
    assert [(cut.serial, cut.base) for cut in cuts] == [(1, True), (2, False), (3, False)]


@given(
    steps=st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), max_size=3), st.sets(st.integers(0, 7))), max_size=8)
)
def test_restored_ids_go_on_like_the_ones_that_were_saved(steps: list[tuple[list[str], set[int]]]) -> None:
    ids, stored = Ids(), dict[int, str | None]()
    ids.unsaved = {}
    for wanted, freed in steps:
        ids.rows(wanted)
        ids.release(sorted(row for row in freed if row < len(ids.names)))
        stored |= dict(ids.take_unsaved())
        other = Ids()
        other.restore({row: name for row, name in stored.items() if name is not None}, len(ids.names), ids.sha)
        assert (other.names, other.row_of, other.sha) == (ids.names, ids.row_of, ids.sha)
        ids.rows(["x", "y"])
        other.rows(["x", "y"])
        assert (other.names, other.sha) == (ids.names, ids.sha)
        stored |= dict(ids.take_unsaved())
