"""``dataset.toml``: which tables a dataset has, and what its columns leave out."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from twin.errors import ConfigError
from twin.events import Count, Currency, Id, Latency, Market, NonNegative, Price, Pue, Seconds, Text, Tier

FileNames = str | list[str]
Weights = Annotated[list[NonNegative], Meta(min_length=24, max_length=24)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file: a key that it does not know is a slip of the pen, not a wish to be ignored."""


class Files(Section, frozen=True, kw_only=True):
    """File names, one or a list each, relative to the dataset's folder."""

    clusters: FileNames = []
    sites: FileNames = []
    latency: FileNames = []
    prices: FileNames = []
    carbon: FileNames = []
    tasks: FileNames = []
    requests: FileNames = []
    fees: FileNames = []

    def of(self, table: str) -> list[str]:
        """The files of a table."""
        names: FileNames = getattr(self, table)
        return [names] if isinstance(names, str) else names


class Fees(Section, frozen=True, kw_only=True):
    """What traffic costs between nodes that the fee table does not have; absent: unknown."""

    default_per_gb: Price | None = None


class Settlement(Section, frozen=True, kw_only=True):
    """The market whose price bills the energy."""

    market: Id | None = None


class Window(Section, frozen=True, kw_only=True):
    """Window length and lateness in seconds, whole milliseconds."""

    length_s: Annotated[float, Meta(ge=1, le=86_400)] = 300
    lateness_s: Annotated[float, Meta(ge=0, le=86_400)] = 0

    @property
    def length_ms(self) -> int:
        """Window length in ms."""
        return round(self.length_s * 1000)

    @property
    def lateness_ms(self) -> int:
        """Lateness in ms."""
        return round(self.lateness_s * 1000)


class ClusterDefaults(Section, frozen=True, kw_only=True):
    """What a site has, and what a row of the cluster table leaves empty. Units as in the columns of that table."""

    tier: Tier = "regional"
    cpu_cores: NonNegative | None = None
    mem_gib: NonNegative | None = None
    gpus: Count = 0
    gpu_model: Id | None = None
    gpus_per_node: Count | None = None
    power_cap_kw: NonNegative | None = None
    pue: Pue | None = None
    idle_kw: NonNegative | None = None


class TaskDefaults(Section, frozen=True, kw_only=True):
    """What a row of a task table leaves out, and the power of a task by its devices (W per core, W per GPU)."""

    origin: Id | None = None
    latency_ms: Latency | None = None
    watts_per_core: NonNegative | None = None
    watts_per_gpu: NonNegative | None = None
    nodes: Count = 1
    mem_gib: NonNegative = 0
    klass: Text = "batch"
    data_gb: NonNegative = 0
    state_gb: NonNegative = 0
    movable: bool = False
    interruptible: bool = False
    tenant: Id = "default"
    priority: Annotated[int, Meta(ge=0, le=2)] = 0


class RequestDefaults(Section, frozen=True, kw_only=True):
    """How recorded requests become demand: when (seconds after t0), from where, how many times over, and how often."""

    start_s: Seconds = 0
    origin: Id | None = None
    origin_shares: dict[Id, NonNegative] = {}
    scale: NonNegative = 1
    app: Id = "default"
    latency_ms: Latency | None = None
    tokens_per_s_per_gpu: NonNegative | None = None
    repeat_hourly_weights: Weights | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset: origin of its times, currency, tables, and defaults."""

    name: Id
    t0: datetime
    currency: Currency
    files: Files
    fees: Fees = Fees()
    markets: dict[str, Market] = {}
    settlement: Settlement = Settlement()
    window: Window = Window()
    cluster_defaults: ClusterDefaults | None = None
    task_defaults: TaskDefaults = TaskDefaults()
    request_defaults: RequestDefaults = RequestDefaults()

    @property
    def t0_ms(self) -> int:
        """``t0`` in ms since the epoch."""
        return round((self.t0 - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def load_config(path: Path) -> tuple[Config, list[str]]:
    """Read a dataset's configuration; returns it and the names of top-level keys that mean nothing here.

    Raises:
        ConfigError: no such file, no TOML, or a key or value that cannot be; names the key.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; a dataset is described by a dataset.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from error
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    if config.t0.tzinfo is None:
        raise ConfigError(
            f"{path}: t0 = {config.t0.isoformat()}: expected a time with its offset, such as 2022-09-25T22:00:00Z"
        )
    if config.t0_ms < 0:
        raise ConfigError(f"{path}: t0 = {config.t0.isoformat()}: expected a time from 1970 on")
    _check_shares(path, config.request_defaults)
    return config, [key for key in raw if key not in Config.__struct_fields__]


def _check_shares(path: Path, defaults: RequestDefaults) -> None:
    total = sum(defaults.origin_shares.values())
    if defaults.origin_shares and abs(total - 1) > 1e-6:
        raise ConfigError(f"{path}: request_defaults.origin_shares add up to {total:.6g}: expected 1")
