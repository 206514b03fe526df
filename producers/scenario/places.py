"""Which provinces and sites a scenario has, and the nodes of its network."""

from dataclasses import dataclass

import msgspec

from producers.scenario.tables import Places, Preset, Province, Site
from twin.events import Tier

_EDGE_MODELS = ("L20", "MLU370-X8")
_DISTRICT_DEGREES = 0.07
"""Further edge sites of a city lie about 8 km apart."""


@dataclass(frozen=True, slots=True)
class Node:
    """A point of the network: a province's capital (an origin) or a site of its own."""

    id: str
    tier: Tier
    lat: float
    lon: float


@dataclass(frozen=True, slots=True)
class Map:
    """Provinces, sites and network nodes of one scenario.

    ``nodes`` starts with one per province, in the order of ``provinces``; ``site_node`` and ``site_province`` are indices
    into ``nodes`` and ``provinces``, one per site.
    """

    provinces: tuple[Province, ...]
    sites: tuple[Site, ...]
    nodes: tuple[Node, ...]
    site_node: tuple[int, ...]
    site_province: tuple[int, ...]


def make_map(preset: Preset, places: Places) -> Map:
    """Choose the provinces and sites of ``preset``; edge sites in a capital share the province's node."""
    by_id = {p.id: p for p in places.provinces}
    provinces = tuple(by_id[i] for i in preset.provinces) if preset.provinces else tuple(places.provinces)
    index = {p.id: i for i, p in enumerate(provinces)}
    named = [site for site in places.sites if site.province in index]
    sites = [
        *[s for s in named if s.tier == "national"][: preset.national],
        *[s for s in named if s.tier == "regional"][: preset.regional],
        *_edge_sites(provinces, [s for s in named if s.tier == "edge"], preset.edge),
    ]
    nodes = [Node(p.id, "edge", p.lat, p.lon) for p in provinces]
    site_node = []
    for site in sites:
        if site.node:
            site_node.append(index[site.node])
        else:
            site_node.append(len(nodes))
            nodes.append(Node(site.id, site.tier, site.lat, site.lon))
    return Map(provinces, tuple(sites), tuple(nodes), tuple(site_node), tuple(index[s.province] for s in sites))


def _edge_sites(provinces: tuple[Province, ...], named: list[Site], count: int) -> list[Site]:
    """Edge sites: one per capital, then the named cities, then further districts of all of them in turn."""
    first = [_capital(province, i) for i, province in enumerate(provinces)] + named
    sites = first[:count]
    for i in range(len(first), count):
        base, lap = first[i % len(first)], i // len(first)
        north = _DISTRICT_DEGREES * lap
        sites.append(
            msgspec.structs.replace(
                base,
                id=f"{base.id}-{lap + 1}",
                name=f"{base.name} {lap + 1}",
                name_zh=f"{base.name_zh}{lap + 1}",
                lat=round(base.lat + north, 4),
                node="",
                size=round(base.size * 0.7, 3),
            )
        )
    return sites


def _capital(province: Province, i: int) -> Site:
    return Site(
        id=f"edge-{province.id[3:].lower()}",
        name=f"{province.name} edge",
        name_zh=f"{province.name_zh}边缘",
        tier="edge",
        role="inference",
        province=province.id,
        lat=province.lat,
        lon=province.lon,
        models=[_EDGE_MODELS[i % 3 // 2], "Atlas-300I-Duo", "cpu"],
        size=1.0,
        node=province.id,
    )
