"""Structured logs of a process, on standard error: text for people, JSON lines for machines."""

import logging
import sys

import structlog

QUIET = {
    "aiokafka": logging.CRITICAL,  # ten lines a second while the broker is away; what it means for us we say ourselves
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "kafka": logging.ERROR,
    "streams.transport": logging.WARNING,  # Faust's services log under the module of their class
    "streams.metrics": logging.WARNING,
}


def configure(level: str, fmt: str) -> None:
    """Log from ``level`` on as ``text`` or ``json``; the libraries' own loggers go the same way, less talkative."""
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        timestamp,
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
