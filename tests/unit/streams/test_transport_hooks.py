"""The places in Faust, mode and aiokafka that streams/transport.py replaces or leans on are as they were when it was written.

A failure here is no defect yet: a new release has moved one of them. Read the place again beside the override that is
named, run tests/broker/test_transport.py, and then write down the new fingerprint, which the message gives.
"""

import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher, subscription_state
from faust.app.base import App
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer, drivers
from faust.transport.conductor import ConductorCompiler
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode.services import Service
from mode.threads import MethodQueue

from streams import transport

VERIFIED = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}


class Hook(NamedTuple):
    """A function that the transport replaces or leans on, and what to look at when it has changed."""

    function: Callable[..., Any]
    fingerprint: str
    look: str


REPLACED = [
    Hook(
        consumer.Consumer.perform_seek,
        "cdb1c23be72444d9",
        "Consumer.perform_seek: is this still where Faust seeks, and are _read_offset and _committed_offset all it sets?",
    ),
    Hook(
        consumer.Consumer._new_offset,
        "9f425b34cc450c56",
        "Consumer._new_offset: may it still empty _acked and _acked_index, and return the position to commit?",
    ),
    Hook(
        consumer.Consumer._add_gap,
        "e461cdf028efe002",
        "Consumer._add_gap: does it still only note gaps for _new_offset?",
    ),
    Hook(
        consumer.Consumer._wait_next_records,
        "1b801ad3dd5286fa",
        "Consumer._wait_next_records: what it returns; the sleep of 1 s",
    ),
    Hook(driver.Consumer._to_message, "b68886661fc38fee", "Consumer._to_message: the fields of a ConsumerMessage"),
    Hook(
        driver.Consumer._new_consumer_thread,
        "cd26d06ef170e339",
        "Consumer._new_consumer_thread: how the thread is made",
    ),
    Hook(
        driver.AIOKafkaConsumerThread._fetch_records,
        "75048a2cb7dad1b1",
        "ConsumerThread._fetch_records: the checks before a fetch, and what a fetch returns",
    ),
    Hook(
        driver.AIOKafkaConsumerThread._create_worker_consumer,
        "a1e0167498bfe18f",
        "ConsumerThread._create_worker_consumer: has Faust a setting for one of the four by now?",
    ),
    Hook(
        fetcher.PartitionRecords._unpack_records,
        "97440fa8ba6d0f1a",
        "ChunkRecords._unpack_records and _is_left_out: the same checks in the same order",
    ),
    Hook(TableManager.on_start, "1d65666243d2e547", "NoTables.on_start: all but the sleep"),
]

LEANED_ON = [
    Hook(
        consumer.Consumer.getmany,
        "59cfaca9cc6b8353",
        "Consumer._wait_next_records: None must end it before the seek of a stopped flow; the scheduler takes lists",
    ),
    Hook(
        consumer.Consumer._drain_messages,
        "f5292b0eea7f5f43",
        "Consumer._claim_and_seek: messages below _read_offset are dropped; a message's offset is its chunk's last",
    ),
    Hook(
        consumer.Consumer.ack,
        "f2deb799bcdee460",
        "Consumer._new_offset: what an acknowledgement leaves in _acked and _acked_index",
    ),
    Hook(
        consumer.Consumer._should_commit,
        "6e33c36d1ac219d1",
        "Consumer._claim_and_seek: _committed_offset None commits what is acked",
    ),
    Hook(
        consumer.Consumer.on_partitions_assigned,
        "a2f6d5bbb1b6d501",
        "Consumer.on_partitions_assigned: stops the flow before it",
    ),
    Hook(
        consumer.Consumer.on_partitions_revoked,
        "e7564e625d0b164d",
        "Consumer._claim_and_seek: bookkeeping of revoked partitions",
    ),
    Hook(
        consumer.Consumer.stop_flow,
        "e8a58a4e8a746e49",
        "Consumer.on_partitions_assigned; ConsumerThread._take reads flow_active",
    ),
    Hook(
        Recovery._resume_streams,
        "66178e8c74830fcf",
        "Consumer.perform_seek: called with the flow stopped, after on_rebalance_complete, before resume_flow",
    ),
    Hook(
        Recovery._restart_recovery.fun,
        "6e33f30c8d96be35",
        "Consumer.perform_seek: RebalanceAgain and IllegalStateError start over without resuming the flow",
    ),
    Hook(
        Recovery._wait,
        "cad338f8b561a0cf",
        "Consumer.perform_seek: a time-out raises ServiceStopped, so that ours has to come first",
    ),
    Hook(Service.wait_first, "712e3d12839ea2a7", "Consumer.perform_seek: an error comes through, a rebalance cancels"),
    Hook(
        App._on_partitions_revoked,
        "67caf4ad2e542e32",
        "Consumer.on_partitions_assigned: stops the flow only if something was assigned",
    ),
    Hook(
        driver.ConsumerRebalanceListener.on_partitions_assigned,
        "fd0b710fe6b309dc",
        "Consumer._claim_and_seek: consumer_generation_id is set before Faust hears of the assignment",
    ),
    Hook(driver.AIOKafkaConsumerThread.getmany, "faf6e6013befce5d", "ConsumerThread._fetch_records: how it is called"),
    Hook(
        driver.AIOKafkaConsumerThread.earliest_offsets, "66d6f1698b53c01c", "Consumer._claim_and_seek: the log's start"
    ),
    Hook(driver.AIOKafkaConsumerThread._highwaters, "5915b03acfb94623", "Consumer._claim_and_seek: the log's end"),
    Hook(
        MethodQueue._process_enqueued,
        "1378c9a2463411d2",
        "ConsumerThread.seek_claimed: runs on the thread's loop, in order",
    ),
    Hook(
        ConductorCompiler.build,
        "a980ed1f49c84904",
        "Chunk: a message's value goes through the topic's decoder and into one queue",
    ),
    Hook(ConsumerMessage.__init__, "f5ab79c7c3e7a21a", "Consumer._to_message: the order of its parameters"),
    Hook(
        AIOKafkaConsumer.start,
        "5a3c9f9ca8c6ce40",
        "ConsumerThread._create_worker_consumer: start reads the four attributes",
    ),
    Hook(
        fetcher.PartitionRecords.__init__,
        "2c37ad0a56a2600e",
        "ChunkRecords.__init__: a generator that has not been begun",
    ),
    Hook(fetcher.PartitionRecords._consume_aborted_up_to, "df3d72f760674e6a", "ChunkRecords._is_left_out"),
    Hook(fetcher.PartitionRecords._contains_abort_marker, "59bbff24657d2023", "ChunkRecords._is_left_out"),
    Hook(
        fetcher.FetchResult.getall,
        "1b448682c740c086",
        "ChunkRecords: all of an iterator is taken, then the position moves to next_fetch_offset",
    ),
    Hook(fetcher.FetchResult.check_assignment, "3f43b6db1074a31b", "ChunkRecords: base is the consumer's position"),
    Hook(
        fetcher.Fetcher.fetched_records,
        "112ba171e7cd13fa",
        "ConsumerThread._take: timeout=0 never waits unless a reassignment is in progress; an empty set means all",
    ),
    Hook(
        fetcher.Fetcher._proc_fetch_request,
        "0e9e17b0c5b9071a",
        "ConsumerThread._take: puts a FetchResult with PartitionRecords into _records",
    ),
    Hook(
        fetcher.Fetcher._create_fetch_waiter,
        "0299eb50570069eb",
        "ConsumerThread._fetch_records: the future it waits for",
    ),
    Hook(fetcher.Fetcher.seek_to, "53dedce9a9e0d436", "ConsumerThread._seek_claimed: forgets what had been fetched"),
    Hook(
        subscription_state.Subscription._assign,
        "ec5aada7d7a6c3ac",
        "ConsumerThread._take: each assignment is an object of its own, and the one before it turns inactive",
    ),
]


def fingerprint(function: Callable[..., Any]) -> str:
    """Hash of a function's source without its indentation, blank lines and comment lines."""
    lines = map(str.strip, inspect.getsource(inspect.unwrap(function)).splitlines())
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name(hook: Hook) -> str:
    return f"{hook.function.__module__}.{hook.function.__qualname__}"


@pytest.mark.parametrize("hook", REPLACED + LEANED_ON, ids=name)
def test_a_place_the_transport_hooks_into_has_not_moved(hook: Hook) -> None:
    now = fingerprint(hook.function)
    installed = ", ".join(f"{package} {version(package)} (verified with {v})" for package, v in VERIFIED.items())
    assert now == hook.fingerprint, (
        f"{name(hook)} has changed to {now}. Read again: {hook.look}. Installed: {installed}."
    )


OVERRIDDEN = [
    (transport.ChunkRecords, fetcher.PartitionRecords, {"_unpack_records"}),
    (transport.ConsumerThread, driver.AIOKafkaConsumerThread, {"_create_worker_consumer", "_fetch_records"}),
    (
        transport.Consumer,
        driver.Consumer,
        {
            "_new_consumer_thread",
            "on_partitions_assigned",
            "perform_seek",
            "_wait_next_records",
            "_to_message",
            "_add_gap",
            "_new_offset",
        },
    ),
    (transport.NoTables, TableManager, {"on_start"}),
]


@pytest.mark.parametrize(("ours", "theirs", "names"), OVERRIDDEN, ids=lambda x: getattr(x, "__name__", ""))
def test_each_override_is_of_a_method_that_exists_and_takes_the_same_arguments(
    ours: type, theirs: type, names: set[str]
) -> None:
    functions = {n for n, f in vars(ours).items() if inspect.isfunction(f) and hasattr(theirs, n)} - {"__init__"}
    assert functions == names
    for method in names:
        mine = inspect.signature(getattr(ours, method)).parameters
        base = inspect.signature(getattr(theirs, method)).parameters
        # _to_message is called by position and names its record a chunk
        renamed = {"record": "chunk"} if method == "_to_message" else {}
        assert list(mine) == [renamed.get(p, p) for p in base], method
        assert [p.default for p in mine.values()] == [p.default for p in base.values()], method
        assert inspect.iscoroutinefunction(getattr(ours, method)) == inspect.iscoroutinefunction(
            getattr(theirs, method)
        )


def test_an_event_of_an_earlier_generation_is_skipped_where_it_leaves_the_queue() -> None:
    """Not acknowledged either. The claim number is the guard for the chunks that this check lets through."""
    source = inspect.getsource(Stream._py_aiter)
    assert "message.generation_id != self.app.consumer_generation_id" in source


def test_the_transport_is_found_by_its_scheme() -> None:
    transport.register("chunk")
    assert drivers.by_url("chunk://127.0.0.1:9092") is transport.Transport
    assert drivers.by_url("kafka://127.0.0.1:9092") is driver.Transport


def test_the_attributes_set_on_aiokafkas_consumer_are_those_its_start_reads() -> None:
    source = inspect.getsource(AIOKafkaConsumer.start)
    for attribute in ("_fetch_max_wait_ms", "_fetch_min_bytes", "_isolation_level", "_auto_offset_reset"):
        assert f"=self.{attribute}," in source
