"""What stands at which site before it has a size, and which request fits where."""

from dataclasses import dataclass

import numpy as np

from producers.scenario.places import Map
from producers.scenario.shapes import WHOLE_NODE, Shape
from producers.scenario.tables import CPU, Device, Devices
from twin.arrays import Bool2, Float2, Int1
from twin.events import Tier


@dataclass(frozen=True, slots=True)
class Racks:
    """Pools without a size, P of them, in the order of the sites and of their models.

    Attributes:
        site: index of the site, (P,).
        device: what stands there.
        min_nodes: the least it will have, (P,).
    """

    site: Int1
    device: tuple[Device, ...]
    min_nodes: Int1

    def __len__(self) -> int:
        return len(self.device)


def make_racks(place: Map, devices: Devices, max_gang: int) -> Racks:
    """The pools of all sites. Training pools of the hubs hold the largest gang twice, regional ones a quarter of it."""
    by_model = devices.by_model()
    rows = [(s, model) for s, site in enumerate(place.sites) for model in site.models]
    gang = max(1, max_gang // WHOLE_NODE)
    return Racks(
        np.array([s for s, _ in rows]),
        tuple(by_model[model] for _, model in rows),
        np.array([_min_nodes(model, place.sites[s].tier, gang) for s, model in rows]),
    )


def _min_nodes(model: str, tier: Tier, gang: int) -> int:
    """The least a pool has; ``gang`` is the largest gang in whole nodes."""
    if model == CPU or tier == "edge":
        return 1
    if tier == "national":
        return max(4, {"H800": 2 * gang, "Ascend-910B": 2 * gang, "A800": gang // 2}.get(model, 0))
    return max(4, gang // 4) if model in {"Ascend-910B", "A800"} else 3


def fits(shapes: tuple[Shape, ...], racks: Racks) -> Bool2:
    """Which pool can hold which shape when it is empty, (S, P): model, size of a node, number of nodes.

    Requests without accelerators are given to CPU pools only: a core beside an accelerator is not planned away.
    """
    out = np.zeros((len(shapes), len(racks)), np.bool_)
    for s, shape in enumerate(shapes):
        for p, device in enumerate(racks.device):
            model = not shape.compatible or device.model in shape.compatible
            sort = (device.model == CPU) == (shape.accelerators == 0)
            node = (
                shape.accelerators <= device.per_node * shape.nodes
                and shape.cores <= device.cores_per_node * shape.nodes
                and shape.mem_gib <= device.gib_per_node * shape.nodes
            )
            out[s, p] = model and sort and node and shape.nodes <= racks.min_nodes[p]
    return out


def tokens_per_s(devices: Devices, racks: Racks) -> Float2:
    """Output tokens per second of one accelerator by service and pool, (K, P); 0: cannot serve it."""
    return np.array([[service.tokens_per_s(device) for device in racks.device] for service in devices.services])


def nearest_ms(able: Bool2, rtt_ms: Float2) -> Float2:
    """RTT to the nearest able pool, (rows of ``able``, origins), inf where there is none.

    Shapes: ``able`` is (rows, pools), ``rtt_ms`` (origins, pools).
    """
    out = np.full((len(able), len(rtt_ms)), np.inf)
    for s, row in enumerate(able):
        if row.any():
            out[s] = rtt_ms[:, row].min(axis=1)
    return out
