"""Sites, clusters, paths between them and what traffic costs: the events that are there before the first window."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import get_args

from producers.importers.config import ClusterDefaults, Config
from producers.importers.tables import Row, Table
from twin import events as ev
from twin.errors import ConfigError

# A pool whose memory is not given: no task may be kept out by what nobody knows.
UNBOUNDED_MEM_GIB = 1e9
TIERS: tuple[ev.Tier, ...] = get_args(ev.Tier)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the network: its node, its price zone, and where it is."""

    node: str
    zone: str
    lat: float | None
    lon: float | None
    tier: ev.Tier | None


@dataclass(slots=True)
class Places:
    """Sites by node, the clusters' rows, and every node that something is known about, in order of appearance."""

    sites: dict[str, Site] = field(default_factory=dict)
    clusters: list[ev.ClusterRegistered] = field(default_factory=list)
    nodes: dict[str, None] = field(default_factory=dict)

    def check_node(self, row: Row, column: str, node: str) -> str:
        """``node`` if it is one.

        Raises:
            CellError: it is not; names those there are.
        """
        if node not in self.nodes:
            raise row.wrong(column, "one of the nodes " + _listed(self.nodes))
        return node


def _listed(names: Iterable[str], most: int = 12) -> str:
    all_names = list(names)
    return ", ".join(all_names[:most]) + (f", … ({len(all_names)})" if len(all_names) > most else "")


def _tier(row: Row) -> ev.Tier | None:
    text = row.choice("tier", TIERS)
    return next((tier for tier in TIERS if tier == text), None)


def read_sites(tables: Iterable[Table], places: Places) -> None:
    """Add the rows of the site tables: ``zone`` or ``site``, ``lat``, ``lon`` [, ``tier``, ``price_zone``]."""

    def read(row: Row) -> Site:
        column = "site" if row.cell("site") is not None else "zone"
        node = row.need(column, row.name(column), "a name")
        if node in places.sites:
            raise row.wrong(column, "a site that did not stand before")
        zone = row.name("price_zone") or row.name("zone") or node
        return Site(node, zone, row.number("lat", -90, 90), row.number("lon", -180, 180), _tier(row))

    for table in tables:
        table.need("site|zone", "lat", "lon")
        for site in table.each(read):
            places.sites[site.node] = site
            places.nodes[site.node] = None


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """What a cluster row says, defaults filled in; units as in the table's columns."""

    cpu_cores: float
    mem_gib: float
    gpus: int
    gpu_model: str | None
    gpus_per_node: int
    power_cap_kw: float | None
    pue: float | None
    idle_kw: float | None


def _shape(row: Row, d: ClusterDefaults) -> ClusterShape:
    def or_default(value: float | None, default: float | None) -> float | None:
        return default if value is None else value

    cores = row.need("cpu_cores", or_default(row.number("cpu_cores"), d.cpu_cores), "a number of cores")
    mem = or_default(row.number("mem_gib"), d.mem_gib)
    gpus = row.integer("gpus")
    per_node = row.integer("gpus_per_node")
    per_node = d.gpus_per_node if per_node is None else per_node
    gpus = d.gpus if gpus is None else gpus
    if gpus and gpus % (per_node or 1):
        raise row.wrong("gpus", f"a multiple of gpus_per_node ({per_node})")
    return ClusterShape(
        cpu_cores=cores,
        mem_gib=UNBOUNDED_MEM_GIB if mem is None else mem,
        gpus=gpus,
        gpu_model=row.name("gpu_model") or d.gpu_model,
        gpus_per_node=per_node or 1,
        power_cap_kw=or_default(row.number("power_cap_kw"), d.power_cap_kw),
        pue=or_default(row.number("pue", 1, 10), d.pue),
        idle_kw=or_default(row.number("idle_kw"), d.idle_kw),
    )


def _pool(shape: ClusterShape, config: Config) -> ev.Pool:
    """The one pool ``default`` of a cluster, with its totals.

    Nodes: ``gpus`` / ``gpus_per_node`` (1 where that is not given), and one where there are no GPUs, since a table says
    nothing of CPU nodes. Devices take 0 W at rest (the cluster's ``idle_kw`` holds what it takes empty) and what
    ``task_defaults`` says at full load.
    """
    watts = config.task_defaults
    on_gpus = shape.gpus > 0
    return ev.Pool(
        pool_id="default",
        accelerator=ev.Accelerator(model=shape.gpu_model or "gpu", kind="gpu") if on_gpus else None,
        nodes=shape.gpus // shape.gpus_per_node if on_gpus else 1,
        accelerators_per_node=shape.gpus_per_node if on_gpus else 0,
        cpu_cores=shape.cpu_cores,
        mem_gib=shape.mem_gib,
        w_per_accelerator=ev.IdleMax(max=watts.watts_per_gpu) if on_gpus and watts.watts_per_gpu is not None else None,
        w_per_core=None if watts.watts_per_core is None else ev.IdleMax(max=watts.watts_per_core),
    )


def _registered(
    cluster_id: str, site: Site, tier: ev.Tier, shape: ClusterShape, config: Config
) -> ev.ClusterRegistered:
    return ev.ClusterRegistered(
        seq=0,
        t=0,
        source=config.name,
        cluster_id=cluster_id,
        name=cluster_id,
        tier=tier,
        lat=site.lat,
        lon=site.lon,
        zone_id=site.zone,
        node_id=site.node,
        pools=[_pool(shape, config)],
        power_cap_kw=shape.power_cap_kw,
        idle_kw=shape.idle_kw,
        pue=None if shape.pue is None else ev.PueCurve(a=shape.pue),
    )


def _cluster_site(row: Row, places: Places) -> Site:
    """Where a cluster is: its row says the node and where it has coordinates, the site table fills in the rest."""
    column = "site" if row.cell("site") is not None else "zone"
    node = row.need(column, row.name(column), "a name")
    known = places.sites.get(node)
    if column == "site" and places.sites and known is None:
        raise row.wrong("site", "one of the sites " + _listed(places.sites))
    zone = row.name("zone") if column == "site" else None
    lat, lon = row.number("lat", -90, 90), row.number("lon", -180, 180)
    if known is None:
        return Site(node, zone or node, lat, lon, None)
    return Site(
        node, zone or known.zone, known.lat if lat is None else lat, known.lon if lon is None else lon, known.tier
    )


def read_clusters(tables: list[Table], places: Places, config: Config) -> None:
    """Add the clusters of the cluster tables or, where there are none, one per site with the defaults.

    Raises:
        ConfigError: neither a cluster table nor sites with ``[cluster_defaults]``.
    """
    defaults = config.cluster_defaults or ClusterDefaults()
    seen: set[str] = set()

    def read(row: Row) -> ev.ClusterRegistered:
        cluster_id = row.need("cluster_id", row.name("cluster_id"), "an id")
        if cluster_id in seen:
            raise row.wrong("cluster_id", "a cluster that did not stand before")
        site = _cluster_site(row, places)
        made = _registered(cluster_id, site, _tier(row) or site.tier or defaults.tier, _shape(row, defaults), config)
        seen.add(cluster_id)
        return made

    for table in tables:
        table.need("cluster_id", "site|zone", *([] if defaults.cpu_cores is not None else ["cpu_cores"]))
        places.clusters += table.each(read)
    if not tables:
        places.clusters += _one_per_site(places, config)
    for cluster in places.clusters:
        places.nodes[cluster.node_id] = None


def _one_per_site(places: Places, config: Config) -> list[ev.ClusterRegistered]:
    defaults = config.cluster_defaults
    if defaults is None or defaults.cpu_cores is None or not places.sites:
        raise ConfigError(
            f"dataset {config.name}: no clusters: expected [files] clusters, or [files] sites and [cluster_defaults] cpu_cores"
        )
    if defaults.gpus % (defaults.gpus_per_node or 1):
        raise ConfigError(f"dataset {config.name}: cluster_defaults.gpus: expected a multiple of gpus_per_node")
    shape = ClusterShape(
        cpu_cores=defaults.cpu_cores,
        mem_gib=UNBOUNDED_MEM_GIB if defaults.mem_gib is None else defaults.mem_gib,
        gpus=defaults.gpus,
        gpu_model=defaults.gpu_model,
        gpus_per_node=defaults.gpus_per_node or 1,
        power_cap_kw=defaults.power_cap_kw,
        pue=defaults.pue,
        idle_kw=defaults.idle_kw,
    )
    return [_registered(s.node, s, s.tier or defaults.tier, shape, config) for s in places.sites.values()]


def read_latency(tables: Iterable[Table], places: Places, config: Config) -> list[ev.NetworkLink]:
    """Return a link per row of the latency tables, each direction as given; their nodes count as known."""
    links: dict[tuple[str, str], ev.NetworkLink] = {}
    for table in tables:
        table.need("src", "dst", "rtt_ms|rtt_ms_modelled")
        column = "rtt_ms" if table.has("rtt_ms") else "rtt_ms_modelled"

        def read(row: Row, column: str = column) -> ev.NetworkLink:
            src, dst = (row.need(end, row.name(end), "a node") for end in ("src", "dst"))
            if (src, dst) in links:
                raise row.wrong("dst", f"a pair that did not stand before; {src} to {dst} did")
            rtt = row.need(column, row.number(column, 0, 3_600_000), "milliseconds")
            return ev.NetworkLink(seq=0, t=0, source=config.name, src=src, dst=dst, rtt_ms=ev.Percentiles(p50=rtt))

        for link in table.each(read):
            links[link.src, link.dst] = link
            places.nodes |= {link.src: None, link.dst: None}
    return list(links.values())


def read_fees(tables: Iterable[Table], places: Places, config: Config) -> list[ev.NetworkFee]:
    """Return a fee per row of the fee tables and, where ``default_per_gb`` is given, one per pair they do not have."""
    fees: dict[tuple[str, str], ev.NetworkFee] = {}

    def fee(src: str, dst: str, per_gb: float) -> ev.NetworkFee:
        return ev.NetworkFee(seq=0, t=0, source=config.name, src=src, dst=dst, per_gb=per_gb, currency=config.currency)

    def read(row: Row) -> ev.NetworkFee:
        src, dst = (places.check_node(row, end, row.need(end, row.name(end), "a node")) for end in ("src", "dst"))
        if (src, dst) in fees:
            raise row.wrong("dst", f"a pair that did not stand before; {src} to {dst} did")
        return fee(src, dst, row.need("per_gb", row.number("per_gb", 0, 1e6), f"{config.currency} per GB"))

    for table in tables:
        table.need("src", "dst", "per_gb")
        for made in table.each(read):
            fees[made.src, made.dst] = made
    default = config.fees.default_per_gb
    if default is not None:
        missing = [p for p in combinations(places.nodes, 2) if p not in fees and p[::-1] not in fees]
        fees |= {pair: fee(*pair, default) for pair in missing}
    return list(fees.values())
