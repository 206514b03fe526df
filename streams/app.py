"""One place that makes a Faust app: how a process of the twin joins its group and reads its topics."""

import os
import tempfile
from pathlib import Path

import faust
from faust.types import TopicT

from streams import transport
from streams.collector import collect_rarely
from streams.settings import Settings

HEARTBEATS = 4
"""Heartbeats in a session: three may be lost."""
REQUEST_TIMEOUT_S = 60.0
"""Bounds a seek, so it is longer than what a claim may take."""
COMMIT_INTERVAL_S = 1.0
CHUNKS_IN_BUFFER = 16


def create_app(settings: Settings, group: str, claim: transport.Claimer) -> faust.App:
    """An app of consumer group ``{namespace}-{group}`` that reads by chunks, from where ``claim`` says."""
    transport.register()
    collect_rarely()
    app = faust.App(
        f"{settings.namespace}-{group}",
        broker=f"chunk://{settings.bootstrap}",
        consumer_auto_offset_reset="none",  # a position out of range must be an error, not a silent jump
        consumer_group_instance_id=settings.instance or None,
        consumer_max_fetch_size=settings.fetch_bytes,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / HEARTBEATS,
        broker_request_timeout=REQUEST_TIMEOUT_S,
        broker_max_poll_records=None,
        broker_commit_interval=COMMIT_INTERVAL_S,  # the group's offset is for lag tools only
        stream_buffer_maxsize=CHUNKS_IN_BUFFER,
        stream_wait_empty=True,  # a revoked partition is handed over only after the chunk in hand has been written
        topic_allow_declare=False,  # topics are created on purpose, with their settings
        topic_disable_leader=True,
        table_standby_replicas=0,  # no tables: lets Faust use a plain assignor
        TableManager=transport.NoTables,
        datadir=str(
            Path(tempfile.gettempdir()) / f"cpn-faust-{os.getuid()}"
        ),  # else "<group>-data" in the working directory
        web_enabled=bool(settings.metrics_port),
        web_port=settings.metrics_port or None,
        web_bind=settings.metrics_bind,
        web_router_enabled=False,  # what Faust shows by itself is of no use here, or tells too much
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
        autodiscover=False,
    )
    app.claim_partitions = claim  # type: ignore[attr-defined]  # read by the transport
    return app


def raw_topic(app: faust.App, *names: str) -> TopicT:
    """A topic (or several as one) whose keys and values stay bytes."""
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


__all__ = ["create_app", "raw_topic"]
