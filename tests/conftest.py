"""What every test shares: Hypothesis without deadlines, the published data where it is present, the real servers."""

import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from twin.errors import ConfigError

if TYPE_CHECKING:
    from streams.local import Broker, RedisServer
    from streams.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent

# A deadline measures the machine, not the code; the examples are the same in every run, so a failure can be run again.
settings.register_profile("cpn", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# For a long search by hand: pytest --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cpn")


def pytest_configure(config: pytest.Config) -> None:
    # kafka-python reads its message schemas this way when it is imported; nothing of ours does
    config.addinivalue_line("filterwarnings", "ignore:(open|read)_text is deprecated. Use files:DeprecationWarning")
    # and it leaves sockets that were refused to the garbage collector, which may come by in any later test; ours are bound
    config.addinivalue_line("filterwarnings", r"ignore:unclosed <socket\.socket .*laddr=\('0\.0\.0\.0':ResourceWarning")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of published data, or skip: it is not part of the repository."""
    folder = Path(os.environ.get("CPN_DATA_DIR") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no published data at {folder}: set CPN_DATA_DIR to its folder")
    return folder


# ------------------------------------------------------------------------------------------------------ real servers
# One broker and one Redis a test worker, started when the first test asks for them. What they need is imported only
# then: tests without servers do not wait for it.


def _need(*modules: str, program: Callable[[], str]) -> None:
    """Skip where the extras are not installed; a build machine has them, so there it is a failure."""
    missing = [f"{module} is not installed" for module in modules if importlib.util.find_spec(module) is None]
    try:
        program()
    except ConfigError as error:
        missing.append(str(error))
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{'; '.join(missing)}: pip install 'cpn-twin[stream,local]'")
    assert not missing


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Broker]":
    """A real Kafka broker."""
    from streams.local import Broker
    from streams.programs import find_java

    _need("aiokafka", "jgo", program=find_java)

    quick = ["-XX:TieredStopAtLevel=1"]  # a test run is too short to earn the optimising compiler back
    with Broker(tmp_path_factory.mktemp("kafka"), java_options=quick) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RedisServer]":
    """A real Redis."""
    from streams.local import RedisServer
    from streams.programs import find_redis

    _need("redis", program=find_redis)

    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """A name for the twin of one test, so that tests share the servers and nothing else."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def settings(broker: "Broker", redis_server: "RedisServer", namespace: str) -> "Settings":
    """Where the servers of this test are, and its namespace."""
    from streams.settings import Settings

    return Settings(bootstrap=broker.bootstrap, redis_url=redis_server.url, namespace=namespace)
