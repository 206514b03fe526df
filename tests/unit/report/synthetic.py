"""A made-up run for tests of the report: hubs and regions of a large country, prices with a solar dip, load that follows."""

import random
from hashlib import sha256
from math import cos, exp, pi
from typing import Any

from streams.report import ClusterResult, Flow, PolicyResult, ReportData, RunSeries, ZoneSeries

PLACES = [
    ("Beijing", 39.9, 116.4), ("Tianjin", 39.1, 117.2), ("Hebei (Zhangjiakou)", 40.8, 114.9), ("Shanxi", 37.9, 112.5),
    ("Inner Mongolia (Horinger)", 40.4, 111.8), ("Liaoning", 41.8, 123.4), ("Jilin", 43.9, 125.3), ("Heilongjiang", 45.8, 126.6),
    ("Shanghai", 31.2, 121.5), ("Jiangsu", 32.1, 118.8), ("Zhejiang", 30.3, 120.2), ("Anhui (Wuhu)", 31.4, 118.4),
    ("Fujian", 26.1, 119.3), ("Jiangxi", 28.7, 115.9), ("Shandong", 36.7, 117.0), ("Henan", 34.7, 113.6),
    ("Hubei", 30.6, 114.3), ("Hunan", 28.2, 112.9), ("Guangdong (Shaoguan)", 24.8, 113.6), ("Guangxi", 22.8, 108.4),
    ("Hainan", 20.0, 110.2), ("Chongqing", 29.6, 106.5), ("Sichuan (Chengdu)", 30.7, 104.1), ("Guizhou (Gui'an)", 26.4, 106.6),
    ("Yunnan", 25.0, 102.7), ("Tibet", 29.7, 91.1), ("Shaanxi", 34.3, 108.9), ("Gansu (Qingyang)", 35.7, 107.6),
    ("Qinghai", 36.6, 101.8), ("Ningxia (中卫)", 37.5, 105.2), ("Xinjiang", 43.8, 87.6),
]  # fmt: skip
POLICIES = (
    "price",
    "stay",
    "round-robin",
    "first-fit",
    "latency-first",
    "price-greedy",
    "carbon-greedy",
    "cost-greedy",
)
KINDS = ("batch", "edge", "inference", "training")
T0_MS = 1_767_196_800_000  # 2026-01-01 00:00 at UTC+08:00


def synthetic(seed: int = 7, windows: int = 96, zones: int = 31, clusters: int = 64) -> ReportData:
    """Return a run of ``windows`` quarter hours; the same arguments give the same data."""
    rng = random.Random(seed)
    places = PLACES[:zones]
    series = [_zone(rng, k, place, windows) for k, place in enumerate(places)]
    results = [_cluster(rng, k, places[k % len(places)], series[k % len(places)]) for k in range(clusters)]
    return ReportData(
        title="East Data, West Computing",
        scenario="31 provinces, 64 clusters, 24 hours",
        currency="CNY",
        t0_ms=T0_MS,
        end_ms=T0_MS + windows * 900_000,
        window_ms=900_000,
        timezone_offset_min=480,
        seed=seed,
        generated_by="cpn-twin 0.1.0",
        policies=[PolicyResult(name=name, summary=summary(name, k, windows)) for k, name in enumerate(POLICIES)],
        run=_run(rng, series, windows),
        clusters=results,
        flows=_flows(rng, results),
    )


def _zone(rng: random.Random, k: int, place: tuple[str, float, float], windows: int) -> ZoneSeries:
    west = (place[2] < 112) * 1.0
    base, dip = 430 - 160 * west + rng.uniform(-40, 40), 260 + 190 * west * rng.random()
    price: list[float | None] = []
    load: list[float] = []
    for w in range(windows):
        hour = (w / 4) % 24
        solar = exp(-((hour - 13) ** 2) / 9)
        evening = exp(-((hour - 19.5) ** 2) / 3)
        value = base - dip * solar + 190 * evening + rng.gauss(0, 9)
        price.append(None if k == 25 and 30 < w < 52 else round(value, 3))
        load.append(
            max(0.0, round((420 - value) * (6 + 5 * west) * (0.6 + (k * 7 % 10) / 10), 2)) if k % 6 != 5 else 0.0
        )
    carbon = [None if k == 20 else 580 - 300 * west - 120 * exp(-((w / 4 % 24 - 13) ** 2) / 9) for w in range(windows)]
    return ZoneSeries(zone=f"CN-{k:02d}", name=place[0], price=price, load_kw=load, carbon=carbon)


def _cluster(rng: random.Random, k: int, place: tuple[str, float, float], zone: ZoneSeries) -> ClusterResult:
    tier = ("national", "regional", "edge")[min(2, k // 12 - (k >= 36))] if k < 44 else "edge"
    size = {"national": 1.0, "regional": 0.3, "edge": 0.06}[tier] * rng.uniform(0.5, 1.4)
    energy = sum(zone.load_kw) / 4 * size
    known = [value for value in zone.price if value is not None]
    return ClusterResult(
        cluster_id=f"c{k:03d}",
        name=f"{place[0].split(' (')[0]} {('hub', 'region', 'edge')[('national', 'regional', 'edge').index(tier)]}",
        tier=tier,
        zone=zone.zone,
        lat=None if k == 63 else place[1] + rng.uniform(-0.9, 0.9) * (k >= 31),
        lon=None if k == 63 else place[2] + rng.uniform(-0.9, 0.9) * (k >= 31),
        accelerators=round(8_000 * size),
        cpu_cores=round(40_000 * size),
        energy_kwh=energy,
        cost_energy=energy * 0.21,
        carbon_kg=None if k % 31 == 20 else energy * (0.25 if place[2] < 112 else 0.55),
        task_h=energy / 9,
        accelerator_h=energy / 2,
        core_h=energy * 3,
        tasks_started=round(energy / 40),
        moves_in=round(energy / 4_000),
        moves_out=round(energy / 6_000),
        mean_price=sum(known) / len(known) if known else None,
    )


def _flows(rng: random.Random, clusters: list[ClusterResult]) -> list[Flow]:
    located = [cluster for cluster in clusters if cluster.lat is not None and cluster.energy_kwh > 0]
    east = [place for place in PLACES if place[2] > 112]
    flows: list[Flow] = []
    if len(located) < 2:
        return flows
    for k in range(150):
        origin = east[k % len(east)]
        flows.append(_flow(rng, "serve", f"origin {origin[0]}", (origin[1], origin[2]), rng.choice(located[:24])))
    for _ in range(40):
        one, other = rng.sample(located[:40], 2)
        flows.append(_flow(rng, "move", one.cluster_id, (one.lat, one.lon), other))
    return flows


def _flow(rng: random.Random, kind: Any, src: str, at: tuple[float | None, float | None], dst: ClusterResult) -> Flow:
    return Flow(
        kind=kind, src=src, dst=dst.cluster_id, src_lat=at[0], src_lon=at[1], dst_lat=dst.lat, dst_lon=dst.lon,
        tasks=rng.randint(1, 900), hours=rng.expovariate(1 / 300), gb=rng.expovariate(1 / 80),
    )  # fmt: skip


def _run(rng: random.Random, zones: list[ZoneSeries], windows: int) -> RunSeries:
    load = [sum(zone.load_kw[w] for zone in zones) for w in range(windows)]
    energy = [
        sum((zone.price[w] or 0.0) * zone.load_kw[w] / 4_000 for zone in zones) for w in range(windows)
    ]  # fmt: skip
    swing = [1 + 0.4 * cos(2 * pi * (w / windows - 0.6)) for w in range(windows)]
    return RunSeries(
        t_ms=[T0_MS + (w + 1) * 900_000 for w in range(windows)],
        zones=zones,
        running=[round(value / 16) for value in load],
        waiting=[round(160 * s * rng.uniform(0.7, 1.2)) for s in swing],
        moving=[rng.randint(0, 40) for _ in range(windows)],
        placed=[round(200 * s) + rng.randint(0, 60) for s in swing],
        moves=[rng.randint(0, 30) for _ in range(windows)],
        unplaced=[rng.choice((0, 0, 0, 2, 7)) for _ in range(windows)],
        cost_energy=energy,
        cost_network=[900 * s for s in swing],
        cost_moves=[rng.uniform(0, 120) for _ in range(windows)],
        gap=[None if w % 17 == 3 else abs(rng.gauss(0.006, 0.004)) for w in range(windows)],
    )


def summary(name: str, k: int, windows: int = 96) -> dict[str, Any]:
    """Return a summary as ``cpn replay --json`` prints one; ``price`` is the cheapest of equal work."""
    rng = random.Random(name)
    factor = {"price": 0.86, "cost-greedy": 1.0, "price-greedy": 0.97, "stay": 1.06}.get(name, 1.1 + 0.05 * k)
    energy, network = 412_345.67 * factor, 88_000.0 * (2 - factor if factor < 2 else 0.4)
    moves = 6_250.5 if name == "price" else 0.0
    penalty = 1_200.0 if name not in ("price-greedy", "first-fit") else 26_000.0
    share = {"price-greedy": 0.9713, "first-fit": 0.9808}.get(name, 0.9952 + 0.0001 * (k % 3))
    wait = {kind: {"p50": rng.uniform(0, 300), "p95": rng.uniform(400, 9_000)} for kind in KINDS}
    wait["edge"] = {"p50": 0.0, "p95": rng.uniform(5, 60)}
    return {
        "events": 1_843_201, "windows": windows, "decisions": 24_113 + k,
        "state_sha256": sha256(name.encode()).hexdigest(), "decisions_sha256": sha256(name[::-1].encode()).hexdigest(),
        "currency": "CNY", "energy_kwh": 1_934_567.8 * (0.98 + 0.01 * k), "unpriced_kwh": 1_234.5,
        "cost": {"energy": energy, "network": network, "moves": moves, "penalty": penalty, "idle": 70_000.0,
                 "total": energy + network + moves + penalty},
        "carbon_kg": {"location": 845_000.0 * factor, "market": None, "unknown_kwh": 22_000.0},
        "tasks": {"submitted": 24_310, "started": 24_200, "finished": 23_950, "unplaced": k, "missed_deadline": 31 + 4 * k},
        "delivered": {"core_h": 2_345_678.0, "accelerator_h": 812_345.0, "share": share},
        "unit_cost": {"accelerator_h": 1.234, "core_h": 0.0123},
        "wait_s": {"p50": 42.0 + 11 * k, "p95": 2_900.0 - 210 * k, "by_kind": wait},
        "rtt_ms": {"p50": 7.1 + 0.4 * k, "p95": 21.4 + k}, "slo": 0.9991 - 0.0007 * k, "moves": 412 if moves else 0,
        "violations": 0, "wall_s": 5.2 + k / 10, "events_per_s": 352_000.0,
    }  # fmt: skip
