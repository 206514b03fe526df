"""The generator: from a preset and a seed to the events of a day."""

from dataclasses import dataclass

from producers.scenario import capacity, clusters, network, power, services, tables, tasks
from producers.scenario.capacity import Balance
from producers.scenario.draw import HOUR_MS, rng_of
from producers.scenario.world import World, make_world
from twin.errors import ConfigError
from twin.events import Event, PolicySet

T0 = 1_751_299_200_000
"""2025-07-01 00:00 in Beijing: long sun, and rivers full."""
MAX_HOURS = 24 * 14
MAX_AHEAD_MS = 48 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A day of the computing power network as events, in order of event time.

    Attributes:
        t0, end: first and last moment, epoch ms.
        meta: currency, description and how it was made.
        balance: planned use against capacity by device model.
    """

    name: str
    t0: int
    end: int
    window_ms: int
    lateness_ms: int
    max_ahead_ms: int
    events: list[Event]
    meta: dict[str, str]
    balance: tuple[Balance, ...]


def generate(
    preset: str = "edwc",
    *,
    seed: int = 1,
    hours: int | None = None,
    window_ms: int = 900_000,
    scale: float = 1.0,
    lateness_ms: int = 0,
) -> Scenario:
    """Make the scenario ``preset``; the same arguments always make the same events.

    Args:
        preset: name in the table of presets.
        seed: of all random numbers.
        hours: length; the preset's own when not given. The number of tasks grows with it.
        window_ms: length of a dispatch window, for the clocks.
        scale: factor on the number of tasks; capacity follows.
        lateness_ms: how long a window waits for late events.

    Raises:
        ConfigError: unknown preset, or an argument out of its range.
    """
    chosen = tables.preset(preset)
    hours = chosen.hours if hours is None else hours
    _check(seed, hours, window_ms, scale, lateness_ms)
    world = make_world(chosen, T0, T0 + hours * HOUR_MS, seed)
    events: list[Event] = [_accounting(world.power.currency)]
    events += network.network_events(
        world.place, world.rtt_ms, network.fees_per_gb(world.km), world.power.currency, T0 - 1
    )
    events += _power_events(world, seed)
    work, balance = _work_events(world, round(chosen.tasks * scale * hours / chosen.hours), seed)
    events += work
    events.sort(key=lambda event: event.t)
    meta = {
        "currency": world.power.currency,
        "description": chosen.description,
        "preset": chosen.name,
        "seed": str(seed),
        "scale": str(scale),
    }
    return Scenario(chosen.name, T0, world.time.end, window_ms, lateness_ms, MAX_AHEAD_MS, events, meta, balance)


def _check(seed: int, hours: int, window_ms: int, scale: float, lateness_ms: int) -> None:
    if seed < 0:
        raise ConfigError(f"seed is {seed}; give a number from 0 on")
    if not 2 <= hours <= MAX_HOURS:
        raise ConfigError(f"hours is {hours}; a scenario lasts 2 to {MAX_HOURS} hours")
    if window_ms < 1000 or HOUR_MS % window_ms:
        raise ConfigError(f"window_ms is {window_ms}; give at least 1000 and a whole number of windows per hour")
    if not 0.001 <= scale <= 100:
        raise ConfigError(f"scale is {scale}; give 0.001 to 100")
    if lateness_ms < 0:
        raise ConfigError(f"lateness_ms is {lateness_ms}; it cannot be negative")


def _accounting(currency: str) -> PolicySet:
    params: dict[str, float | bool | str] = {"currency": currency, "settlement_market": "day_ahead"}
    return PolicySet(seq=0, t=T0 - 1, source="scenario", name="accounting", params=params)


def _power_events(world: World, seed: int) -> list[Event]:
    curves = power.make_curves(world.provinces, world.power, world.time, world.preset.spread, rng_of(seed, "power"))
    return [
        *power.price_events(world.provinces, world.power, curves, world.time),
        *power.carbon_events(world.provinces, world.power, curves, world.time),
        *power.tariff_events(world.provinces, world.power, world.time),
    ]


def _work_events(world: World, count: int, seed: int) -> tuple[list[Event], tuple[Balance, ...]]:
    """Tasks, services, and the clusters that are built for them."""
    drawn = tasks.draw_tasks(world, count, rng_of(seed, "tasks"))
    use = capacity.planned_use(world, drawn)
    serving = (world.rate > 0).any(axis=0)
    share = world.preset.service_share
    accelerators = float(use[serving].sum(axis=0).max()) * share / (1 - share)
    demand = services.draw_demand(world, accelerators, rng_of(seed, "services"))
    use += capacity.served_use(world, demand)
    nodes = capacity.size_nodes(world, use)
    built = clusters.cluster_events(world, nodes, rng_of(seed, "clusters"))
    events: list[Event] = [
        *built,
        *clusters.incident_events(world, built),
        *services.demand_events(demand, world.provinces),
        *tasks.task_events(drawn, world.shapes, world.provinces),
    ]
    return events, capacity.balances(world, use, nodes)
