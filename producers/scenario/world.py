"""The fixed part of a scenario: its places, distances, racks and catalogue, made once and handed to every room."""

from dataclasses import dataclass

import numpy as np

from producers.scenario import tables
from producers.scenario.draw import Timeline, rng_of
from producers.scenario.network import distances_km, rtts_ms
from producers.scenario.places import Map, make_map
from producers.scenario.racks import Racks, fits, make_racks, tokens_per_s
from producers.scenario.shapes import Shape, shapes_of
from producers.scenario.tables import Devices, Power, Preset, Province, Workload
from twin.arrays import Bool2, Float2


@dataclass(frozen=True, slots=True)
class World:
    """O nodes of which the first are the origins (one per province), P pools, S shapes, K services.

    Attributes:
        km, rtt_ms: between nodes, (O, O).
        pool_rtt_ms: from each origin to each pool, (provinces, P).
        at_home: which pools stand in the origin's own zone, (provinces, P).
        fit: which pool can hold which shape, (S, P).
        rate: output tokens per second of one accelerator, (K, P).
    """

    preset: Preset
    time: Timeline
    workload: Workload
    devices: Devices
    power: Power
    place: Map
    racks: Racks
    shapes: tuple[Shape, ...]
    km: Float2
    rtt_ms: Float2
    pool_rtt_ms: Float2
    at_home: Bool2
    fit: Bool2
    rate: Float2

    @property
    def provinces(self) -> tuple[Province, ...]:
        """The origins."""
        return self.place.provinces


def make_world(preset: Preset, t0: int, end: int, seed: int) -> World:
    """Read the tables and lay out the scenario ``preset``; ``seed`` only varies the routes of the network."""
    power, devices, workload = tables.power(), tables.devices(), tables.workload()
    place = make_map(preset, tables.places())
    racks = make_racks(place, devices, preset.max_gang)
    shapes = shapes_of(workload, preset.max_gang)
    km = distances_km(place)
    rtt_ms = rtts_ms(place, km, rng_of(seed, "routes"))
    return World(
        preset=preset,
        time=Timeline(t0, end, power.utc_offset_h),
        workload=workload,
        devices=devices,
        power=power,
        place=place,
        racks=racks,
        shapes=shapes,
        km=km,
        rtt_ms=rtt_ms,
        pool_rtt_ms=rtt_ms[: len(place.provinces)][:, np.array(place.site_node)[racks.site]],
        at_home=np.arange(len(place.provinces))[:, None] == np.array(place.site_province)[racks.site],
        fit=fits(shapes, racks),
        rate=tokens_per_s(devices, racks),
    )
