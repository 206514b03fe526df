"""The stores under contract: one in memory, one in a real Redis."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from streams.store.base import TwinStore
from streams.store.memory import MemoryStore

Opener = Callable[[], TwinStore]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.broker)])
def opener(request: pytest.FixtureRequest, namespace: str) -> Opener:
    """Gives one more store that holds the same as the others of this test."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    url = request.getfixturevalue("redis_server").url
    from streams.store.redis import RedisStore

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
