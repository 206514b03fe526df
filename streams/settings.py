"""Where the broker and Redis are and how a process of the twin behaves: from ``CPN_…`` environment variables."""

from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin.errors import ConfigError
from twin.topics import IN_TOPICS, OUT_TOPICS


class Settings(BaseSettings):
    """Settings that every process shares. ``CPN_BOOTSTRAP=host:port`` sets ``bootstrap``, and so on."""

    model_config = SettingsConfigDict(env_prefix="CPN_", extra="ignore")

    bootstrap: str = "127.0.0.1:9092"
    redis_url: str = "redis://127.0.0.1:6379/0"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "cpn"
    """Names the twin: its topics are ``cpn.tasks`` …, its groups ``cpn-ingest`` …, its Redis keys ``cpn:v1:…``."""

    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,200}$")] = ""
    """Name of this process in its group. With a name of its own a process that restarts quickly keeps its partitions
    (static membership); two processes must never share one. Empty: a new member at every start."""
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 6.0
    """How long a process may be silent before its partitions go to another."""
    fetch_bytes: Annotated[int, Field(ge=1 << 10, le=1 << 30)] = 4 << 20
    """Most bytes that one fetch of one partition brings: the size of a chunk under load."""
    coalesce_ms: Annotated[float, Field(ge=0, le=10_000)] = 100.0
    """Under load a shard is written at most so often; a cut is written at once, and so is everything when the load ends."""
    pending_windows: Annotated[int, Field(ge=1, le=10_000)] = 16
    """So many windows of a partition may wait for the dispatcher before the partition is read no further."""
    stall_s: Annotated[float, Field(ge=1, le=3600)] = 20.0
    """A process that has work and does none for so long ends itself."""
    seed: int = 0
    """Handed to dispatch: which way equal shares are rounded."""
    checkpoint_windows: Annotated[int, Field(ge=1, le=10_000)] = 64
    """The dispatcher publishes what it carries every so many windows."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /metrics, /livez and /readyz; 0: none."""
    metrics_bind: str = "127.0.0.1"

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    log_format: Annotated[str, Field(pattern="^(text|json)$")] = "text"

    def topic(self, short: str) -> str:
        """The Kafka name of a topic, ``tasks`` → ``cpn.tasks``."""
        return f"{self.namespace}.{short}"

    def short(self, topic: str) -> str:
        """The short name of a Kafka topic, ``cpn.tasks`` → ``tasks``."""
        return topic.removeprefix(f"{self.namespace}.")

    @property
    def in_topics(self) -> dict[str, str]:
        """Kafka name of each topic that workers read, by its short name."""
        return {short: self.topic(short) for short in IN_TOPICS}

    @property
    def out_topics(self) -> dict[str, str]:
        """Kafka name of each topic that the twin writes, by its short name."""
        return {short: self.topic(short) for short in OUT_TOPICS}


def load_settings(**given: object) -> Settings:
    """Settings from the environment, except for those that are ``given`` and not None.

    Raises:
        ConfigError: a value is out of its bounds; the message names the variable.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"CPN_{str(first['loc'][0]).upper()}: {first['msg']}, got {first['input']!r}") from error
