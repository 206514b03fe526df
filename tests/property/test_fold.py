"""Every fold against a plain loop, and what must not matter: chunks, repeats, refused records, disorder."""

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.feeding import WAYS, feed, feed_in_chunks, few
from tests.oracle.logs import START, clock, event, logs
from tests.oracle.read import assert_same_table, content, row
from tests.oracle.shard import TOPICS, Item, OracleShard
from twin.shards.shard import Shard

topics = pytest.mark.parametrize("topic", sorted(TOPICS))
some_examples = settings(max_examples=60)
splits = st.lists(st.integers(0, 100), max_size=6)


@topics
@some_examples
@given(data=st.data())
def test_a_shard_is_what_a_plain_loop_makes_of_its_log(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard, oracle = Shard(topic, 0), OracleShard(topic)
    with few(data.draw(st.sampled_from(WAYS))):
        cuts, dead = feed(shard, items)
    oracle.feed(items)
    assert set(shard.tables) == set(oracle.state.books)
    for name, table in shard.tables.items():
        assert_same_table(table, oracle.state.books[name])
    assert shard.counts == oracle.counts
    assert [(letter.offset, letter.reason) for letter in dead] == oracle.dead
    assert [(cut.window, cut.skipped, cut.next, cut.time, cut.sums) for cut in cuts] == [
        (cut.window, cut.skipped, cut.next, cut.time, cut.sums) for cut in oracle.cuts
    ]


@topics
@some_examples
@given(data=st.data())
def test_neither_where_chunks_end_nor_the_way_of_folding_shows(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    whole, parts = Shard(topic, 0), Shard(topic, 0)
    with few(data.draw(st.sampled_from(WAYS))):
        cuts, dead = feed(whole, items)
    cuts_of_parts, dead_of_parts = feed_in_chunks(parts, items, data.draw(splits))
    assert content(parts.tables) == content(whole.tables)
    assert parts.clock == whole.clock
    assert parts.counts == whole.counts
    assert dead_of_parts == dead
    assert [_plain(cut) for cut in cuts_of_parts] == [_plain(cut) for cut in cuts]


def _plain(cut: object) -> object:
    """A cut with its arrays as bytes, so that two can be compared."""
    named = {name: getattr(cut, name) for name in type(cut).__slots__}  # type: ignore[attr-defined]
    for name, value in named.items():
        if name == "tables":
            named[name] = {table: _plain(delta) for table, delta in value.items()}
        elif hasattr(value, "tobytes"):
            named[name] = value.tobytes()
    return named


@topics
@some_examples
@given(data=st.data())
def test_folding_records_again_changes_nothing_but_counters(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard = Shard(topic, 0)
    feed(shard, items)
    after_last_clock = max((i + 1 for i, item in enumerate(items) if _is_clock(item)), default=0)
    once = deepcopy(content(shard.tables))
    feed(shard, items[after_last_clock:], len(items))
    assert content(shard.tables) == once


@topics
@some_examples
@given(data=st.data())
def test_records_that_do_not_count_leave_no_trace_in_the_state(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    oracle, shard, without = OracleShard(topic), Shard(topic, 0), Shard(topic, 0)
    oracle.feed(items)
    feed(shard, items)
    counted = {"folded", "older", "clocks", "not_folded"}
    feed(without, [item for item, outcome in zip(items, oracle.outcomes, strict=True) if outcome in counted])
    assert content(shard.tables) == content(without.tables)
    assert not set(without.counts) & {"dead", "repeats"}


@topics
@some_examples
@given(data=st.data())
def test_every_refused_record_is_one_dead_letter_with_its_bytes_and_every_record_is_counted_once(
    topic: str, data: st.DataObject
) -> None:
    items = data.draw(logs(topic))
    shard = Shard(topic, 3)
    _, dead = feed_in_chunks(shard, items, data.draw(splits))
    assert sum(shard.counts.values()) == len(items)
    assert set(shard.counts) <= {"folded", "older", "repeats", "dead", "not_folded", "clocks"}
    assert len(dead) == shard.counts["dead"]
    assert [letter.offset for letter in dead] == sorted({letter.offset for letter in dead})
    for letter in dead:
        assert (letter.topic, letter.partition) == (topic, 3)
        assert (letter.key, letter.value) == (f"k{letter.offset}".encode(), items[letter.offset].value)
        assert letter.reason
        assert letter.detail
    unreadable = {i for i, item in enumerate(items) if item.body is None}
    assert unreadable <= {letter.offset for letter in dead}


def _is_clock(item: Item) -> bool:
    return item.body is not None and item.body["type"] == "clock.v1"


life = st.lists(
    st.tuples(st.sampled_from([3, 4, 4, 5, 5, 6]), st.integers(0, 12), st.integers(0, 3), st.integers(0, 1000)),
    max_size=12,
)


@settings(max_examples=150)
@given(specs=life, data=st.data())
def test_the_order_in_which_the_events_of_a_task_arrive_does_not_show_in_its_row(
    specs: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    # one event per role, attempt and sequence number, of two attempts: a third would make the first too old or not
    events: dict[object, Item] = {}
    for kind, seq, hour, variation in specs:
        made = event("tasks", kind, 0, seq, t=START + hour, variation=variation)
        assert made.body is not None
        if made.body.get("attempt", 1) <= 2:
            events[made.body.get("attempt", 0), seq] = made
    shuffled = data.draw(st.permutations(list(events.values())))
    in_order, other = Shard("tasks", 0), Shard("tasks", 0)
    feed(in_order, [clock(START), *events.values()])
    feed_in_chunks(other, [clock(START), *shuffled], data.draw(splits))
    rows = [_row_without_codes(shard) for shard in (in_order, other)]
    assert rows[0] == rows[1]
    assert "dead" not in other.counts


def _row_without_codes(shard: Shard) -> object:
    table = shard.tables["tasks"]
    return repr(row(table, 0)) if table.count else None
