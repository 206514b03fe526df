"""Distance, round-trip time, bandwidth and fees between the nodes of the network.

Great-circle distance by the haversine formula on a sphere of 6,371 km. RTT = access of both ends + 1.4 ms per 100 km: light
in fibre needs 1 ms per 100 km there and back, and routes are taken to be 1.4 times the great circle. So 1 ms reaches an
edge site of the same city, 5 ms the neighbouring cities (about 250 km) and 20 ms about 1,250 km.
Fees are an assumption of the scenario: a small amount for leaving the city plus one that grows with the distance.
"""

import numpy as np

from producers.scenario.places import Map
from twin.arrays import Float2
from twin.events import NetworkFee, NetworkLink, Percentiles

EARTH_RADIUS_KM = 6371.0
MS_PER_100_KM = 1.4
ACCESS_MS = {"edge": 0.4, "regional": 0.9, "national": 1.5}
"""One end's share of the RTT: an edge node hangs on the metropolitan ring, a national one behind the backbone."""
MBPS = {"edge": 10_000.0, "regional": 40_000.0, "national": 100_000.0}
"""Bandwidth a transfer can count on; a path has that of its weaker end."""
FEE_BASE_PER_GB, FEE_PER_GB_KM = 0.004, 2.0e-5


def distances_km(place: Map) -> Float2:
    """Great-circle distance between all nodes, (O, O), rounded to 0.1 km."""
    lat = np.radians(np.array([node.lat for node in place.nodes]))
    lon = np.radians(np.array([node.lon for node in place.nodes]))
    half = np.sin((lat[:, None] - lat) / 2) ** 2
    half += np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    return np.asarray(np.round(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)), 1))


def rtts_ms(place: Map, km: Float2, rng: np.random.Generator) -> Float2:
    """Median RTT between all nodes, (O, O), symmetric; routes differ by up to 8 % from the formula."""
    access = np.array([ACCESS_MS[node.tier] for node in place.nodes])
    detour = 1 + 0.08 * rng.random(km.shape)
    detour = np.triu(detour, 1)
    detour += detour.T
    return np.asarray(np.round(access[:, None] + access + MS_PER_100_KM / 100 * km * detour, 2))


def fees_per_gb(km: Float2) -> Float2:
    """Fee between all nodes, currency per GB, (O, O), 0 on the diagonal."""
    fee = np.round(FEE_BASE_PER_GB + FEE_PER_GB_KM * km, 4)
    np.fill_diagonal(fee, 0.0)
    return fee


def network_events(
    place: Map, rtt_ms: Float2, fee_per_gb: Float2, currency: str, t: int
) -> list[NetworkLink | NetworkFee]:
    """Links and fees, one direction of each pair; the diagonal has a link, the way inside the city, and no fee."""
    nodes = place.nodes
    events: list[NetworkLink | NetworkFee] = []
    for i, a in enumerate(nodes):
        for j in range(i, len(nodes)):
            b = nodes[j]
            p50 = float(rtt_ms[i, j])
            events.append(
                NetworkLink(
                    seq=0,
                    t=t,
                    source="scenario",
                    src=a.id,
                    dst=b.id,
                    layer="metro" if p50 <= 5 else "backbone",
                    rtt_ms=Percentiles(p50=p50, p99=round(p50 * 1.3 + 0.5, 2)),
                    available_mbps=min(MBPS[a.tier], MBPS[b.tier]),
                )
            )
            if i != j:
                events.append(
                    NetworkFee(
                        seq=0,
                        t=t,
                        source="scenario",
                        src=a.id,
                        dst=b.id,
                        per_gb=float(fee_per_gb[i, j]),
                        billing="per_gb",
                        currency=currency,
                    )
                )
    return events
