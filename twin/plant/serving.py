"""What the pools of a cluster serve: of what they are wanted for, as much as running tasks and the power cap leave."""

from collections.abc import Iterator
from dataclasses import dataclass

from twin.plant.parts import MICRO, Cluster, Pool, micro


@dataclass(frozen=True, slots=True)
class Demand:
    """A service from one origin, and the model it runs on."""

    service: str
    origin: str
    model: str


@dataclass(frozen=True, slots=True)
class Change:
    """A pool serves ``tokens_per_s`` with ``accelerators`` from now on."""

    pool: Pool
    key: str
    tokens_per_s: float
    accelerators: float


def grant(cluster: Cluster, demands: dict[str, Demand], t: int) -> Iterator[Change]:
    """Grant services anew at ``t`` and yield what has changed.

    Accelerators of a service = tokens per second wanted / tokens per second of one accelerator. Where a pool has too few
    left, or the cluster too little power, all services there get the same share of what they want. A service whose
    model the pool has no throughput for gets nothing.
    """
    pools = [pool for pool in cluster.pools.values() if pool.wants or pool.served]
    needs = [_needs(pool, demands) for pool in pools]
    wanted = [sum(need.values()) for need in needs]
    grants = [0] * len(pools)
    if not cluster.off:
        for i, pool in enumerate(pools):
            grants[i] = max(0, min(wanted[i], pool.accelerators + pool.granted))
        grants = _under_cap(cluster, pools, grants)
    cluster.unmet = grants != wanted
    for pool, need, total, given in zip(pools, needs, wanted, grants, strict=True):
        if given != pool.granted:
            before, pool.granted = pool.granted, given
            pool.accelerators -= given - before
            more = _power(pool, given) - _power(pool, before)
            cluster.granted += more
            cluster.draw(more, t)
        yield from _changes(pool, need, given, total)


def _needs(pool: Pool, demands: dict[str, Demand]) -> dict[str, int]:
    """Accelerators that the services wanted of ``pool`` take, in millionths."""
    needs = {}
    for key, tokens_per_s in pool.wants.items():
        speed = pool.spec.tokens_per_s.get(demands[key].model, 0.0) if key in demands else 0.0
        needs[key] = max(1, micro(tokens_per_s / speed)) if speed > 0 and tokens_per_s > 0 else 0
    return needs


def _power(pool: Pool, accelerators: int) -> int:
    return accelerators * pool.w_accelerator // MICRO


def _under_cap(cluster: Cluster, pools: list[Pool], grants: list[int]) -> list[int]:
    """``grants``, scaled down to the power that is left for services."""
    room = max(0, cluster.power + cluster.granted)
    draws = sum(_power(pool, given) for pool, given in zip(pools, grants, strict=True))
    if draws <= room:
        return grants
    return [given * room // draws for given in grants]


def _changes(pool: Pool, need: dict[str, int], given: int, total: int) -> Iterator[Change]:
    now: dict[str, float] = {}
    for key in sorted(need.keys() | pool.served.keys()):
        accelerators = need.get(key, 0)
        served = 0.0
        if accelerators and given:
            served = pool.wants[key] if given == total else pool.wants[key] * given / total
            now[key] = served
        if served != pool.served.get(key, 0.0):
            yield Change(pool, key, served, accelerators * given / total / MICRO if given else 0.0)
    pool.served = now
