"""What a process looks at before it joins its group: is everything there, as it has to be, and nobody else under its name."""

import asyncio
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.partitions import agree_on_partitions, agree_on_topics, in_partitions, topic_ids
from streams.settings import Settings
from streams.store.base import FencedError
from streams.store.redis import RedisStore
from twin.errors import ConfigError, StoreError

BEAT_S = 0.5
"""How often a process under a name says that it lives."""
WATCH_S = 1.5
"""How long a newcomer watches for such a beat."""
FORGET_MS = 60_000


async def preflight(settings: Settings) -> None:
    """Look at broker, topics, Redis and what they have in common.

    Raises:
        ConfigError: something is not there or not as it has to be; the message says what to do.
    """
    partitions = await in_partitions(settings)
    store = RedisStore(settings.redis_url, settings.namespace)
    try:
        await store.check()
        await agree_on_partitions(store, partitions)
        await agree_on_topics(store, await topic_ids(settings))
    finally:
        await store.close()


class InstanceName:
    """The name of a static member of a group, held in Redis as long as the process lives.

    The broker lets the newcomer in and leaves the older process of the same name idle, without a word to either. So a
    newcomer looks first: a holder on this machine that is dead is known at once, one elsewhere by its missing beat.
    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._key = f"{settings.namespace}:v1:instance:{group}:{settings.instance}"
        self._said = f"instance {settings.instance!r} of group {settings.namespace}-{group}"
        self._redis = Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=2)
        self._mine = {
            "token": secrets.token_hex(8),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born("self"),
        }

    async def take(self) -> None:
        """Take the name.

        Raises:
            ConfigError: a living process has it.
        """
        try:
            held = await self._held()
            if held and not _is_dead(held):
                await asyncio.sleep(WATCH_S)
                if await self._held() not in (None, held):
                    raise ConfigError(
                        f"{self._said} is running on {held['host']} (pid {held['pid']}): stop it, or give this one a name of "
                        "its own with --instance"
                    )
            await self._beat(0)
        except RedisError as error:
            raise StoreError(f"Redis: {error}") from error

    async def keep(self) -> None:
        """Say again and again that this process lives.

        Raises:
            FencedError: another process has taken the name.
        """
        beat = 0
        while True:
            await asyncio.sleep(BEAT_S)
            beat += 1
            try:
                held = await self._held()
                if held and held["token"] != self._mine["token"]:
                    raise FencedError(
                        f"{self._said} was started again on {held['host']} (pid {held['pid']}); this one ends"
                    )
                await self._beat(beat)
            except RedisError:
                continue  # whether Redis is there is looked at where it is needed

    async def _held(self) -> dict[str, Any] | None:
        value = await self._redis.get(self._key)
        return json.loads(value) if value else None

    async def _beat(self, beat: int) -> None:
        await self._redis.set(self._key, json.dumps(self._mine | {"beat": beat}), px=FORGET_MS)


def _born(pid: int | str) -> str:
    """When a process of this machine was started, in the kernel's count; empty where that cannot be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_dead(held: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    return held["host"] == socket.gethostname() and bool(held["born"]) and _born(held["pid"]) != held["born"]
