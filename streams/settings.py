"""Where the broker and Redis are and how a process of the twin behaves: from ``CPN_…`` environment variables."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from twin.topics import IN_TOPICS, OUT_TOPICS


class Settings(BaseSettings):
    """Settings that every process shares. ``CPN_BOOTSTRAP=host:port`` sets ``bootstrap``, and so on."""

    model_config = SettingsConfigDict(env_prefix="CPN_", extra="ignore")

    bootstrap: str = "127.0.0.1:9092"
    redis_url: str = "redis://127.0.0.1:6379/0"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] = "cpn"
    """Names the twin: its topics are ``cpn.tasks`` …, its groups ``cpn-ingest`` …, its Redis keys ``cpn:v1:…``."""

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
