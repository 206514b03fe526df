"""The ledger: reported intervals × prices, folded once per window, in integers. Part of the carry.

What it books depends on the shards alone, not on which of their rows a cut happened to bring.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, fields

import msgspec
import numpy as np

from twin.arrays import AnyArray
from twin.energy.curves import Curves
from twin.energy.fees import Fees
from twin.energy.fleet import Fleet, FleetCarry
from twin.energy.idle import Idle
from twin.energy.meters import MetersCarry
from twin.energy.runs import Runs
from twin.energy.serving import Servings, ServingsCarry
from twin.energy.settle import Bookings, Jobs, Kind, data_rates, join, settle
from twin.errors import TwinBug
from twin.mirror import Mirror
from twin.packed import Packed, pack, pack_columns, unpack, unpack_columns

__all__ = ["Bookings", "Kind", "Ledger", "Totals"]


class LedgerCarry(msgspec.Struct, array_like=True, frozen=True):
    """What a ledger holds besides what follows from the mirror."""

    currency: str
    market: str
    first: int
    chain: bytes
    totals: dict[str, Packed]
    device_cost_micro: Packed
    fleet: FleetCarry
    runs: MetersCarry
    servings: ServingsCarry
    idle: dict[str, Packed]


@dataclass(slots=True)
class Totals:
    """Sums of all bookings by kind and cluster code, each (kinds, clusters) int64.

    ``energy_mwh`` includes ``unpriced_mwh``, whose cost is not known and not in ``cost_micro``; likewise
    ``carbon_unknown_mwh`` is energy that is not in ``carbon_mg``.
    """

    energy_mwh: AnyArray
    unpriced_mwh: AnyArray
    cost_micro: AnyArray
    carbon_mg: AnyArray
    carbon_unknown_mwh: AnyArray

    @classmethod
    def empty(cls, clusters: int = 0) -> "Totals":
        """Nothing booked yet."""
        return cls(*(np.zeros((len(Kind), clusters), np.int64) for _ in fields(cls)))

    def of(self, *kinds: Kind) -> dict[str, int]:
        """Sums over all clusters of some kinds (of all, where none is named)."""
        some = list(kinds or Kind)
        return {field.name: int(getattr(self, field.name)[some].sum()) for field in fields(self)}

    def add(self, bookings: Bookings, clusters: int) -> None:
        """Add ``bookings``, whose cluster codes are below ``clusters``."""
        at = bookings.kind.astype(np.int64) * clusters + bookings.cluster
        amounts = {
            "energy_mwh": bookings.energy_mwh,
            "unpriced_mwh": np.where(bookings.priced, 0, bookings.energy_mwh),
            "cost_micro": bookings.cost_micro,
            "carbon_mg": bookings.carbon_mg,
            "carbon_unknown_mwh": np.where(bookings.carbon_known, 0, bookings.energy_mwh),
        }
        for name, amount in amounts.items():
            sums = getattr(self, name)
            if sums.shape[1] < clusters:
                wider = np.zeros((len(Kind), clusters), np.int64)
                wider[:, : sums.shape[1]] = sums
                setattr(self, name, wider)
                sums = wider
            np.add.at(sums.reshape(-1), at, amount)


class Ledger:
    """What a run has cost so far.

    Args:
        mirror: gives the number of partitions.
        currency: the accounting currency.
        market: which market's prices bill the energy.
        first: ms of the run's first clock, from which idle power is booked; absent: the first time booked up to.

    Attributes:
        totals: sums by kind and cluster code.
        device_cost_micro: cost by kind, without and with accelerators, (kinds, 2).
        curves: prices and carbon as far as published.
        assumed: how often something had to be assumed.
    """

    def __init__(self, mirror: Mirror, currency: str, market: str, first: int | None = None) -> None:
        self.currency = currency
        self.curves = Curves(currency, market)
        self.fleet = Fleet()
        self.fees = Fees(currency, self.fleet.nodes)
        self.totals = Totals.empty()
        self.device_cost_micro = np.zeros((len(Kind), 2), np.int64)
        self.upto = -1
        self._first = first
        self._runs = Runs(len(mirror.of("tasks")), self.fleet, self.fees)
        self._servings = Servings(len(mirror.of("services")), self.fleet)
        self._idle = Idle(self.fleet)
        self._zone_of_cluster = np.zeros(0, np.int64)
        self._chain = bytes(32)

    def book(self, mirror: Mirror, upto: int) -> Bookings:
        """Book everything up to ``upto`` (ms) that is not booked yet, and correct what is reported otherwise now.

        Raises:
            ConfigError: a price or fee is in another currency and there is no exchange rate.
            TwinBug: ``upto`` lies before the time booked last.
        """
        if upto < self.upto:
            raise TwinBug(f"the ledger is booked up to {self.upto}, asked for {upto}")
        if self._first is None:
            self._first = upto
        bookings = self._settle(self._collect(mirror, self._first, upto))
        self.totals.add(bookings, len(self.fleet.clusters))
        device = bookings.kind * np.int64(2) + bookings.accelerated
        np.add.at(self.device_cost_micro.reshape(-1), device, bookings.cost_micro)
        self._chain = _chained(self._chain, bookings)
        self.upto = upto
        return bookings

    def carry(self) -> LedgerCarry:
        """What a ledger needs besides the mirror to go on from here."""
        return LedgerCarry(
            self.currency,
            self.curves.market,
            self.upto if self._first is None else self._first,
            self._chain,
            pack_columns({field.name: getattr(self.totals, field.name).T for field in fields(Totals)}),
            pack(self.device_cost_micro),
            self.fleet.carry(),
            self._runs.carry(),
            self._servings.carry(),
            self._idle.carry(),
        )

    @classmethod
    def restore(cls, carry: LedgerCarry, mirror: Mirror, upto: int) -> "Ledger":
        """The ledger of a carry of where ``mirror`` stands, booked up to ``upto``. Curves and fees follow from the mirror alone.

        Raises:
            ConfigError: the carry is of another version.
        """
        ledger = cls(mirror, carry.currency, carry.market, carry.first)
        ledger.upto, ledger._chain = upto, carry.chain
        by_kind = np.dtype((np.int64, (len(Kind),)))
        totals = unpack_columns(carry.totals, {field.name: by_kind for field in fields(Totals)})
        ledger.totals = Totals(**{name: np.ascontiguousarray(sums.T) for name, sums in totals.items()})
        ledger.device_cost_micro = unpack(carry.device_cost_micro, np.int64)
        ledger.fleet.restore(carry.fleet, mirror)
        ledger.curves.update(mirror)
        ledger.fees.update(mirror)
        ledger._runs.restore(carry.runs, mirror)
        ledger._servings.restore(carry.servings, mirror)
        ledger._idle.restore(carry.idle)
        ledger._zone_of_cluster = ledger.curves.zones(ledger.fleet.zone_names)
        return ledger

    @property
    def assumed(self) -> Counter[str]:
        """How many starts and servings had ``device_w``, ``pue``, ``fee``, ``tokens_per_s`` or ``power_limit`` assumed."""
        return +(self._runs.assumed + self._servings.assumed)

    @property
    def held(self) -> int:
        """Runs and servings that are not booked because their task, cluster or model is not known."""
        return sum(len(rows) for side in (self._runs, self._servings) for rows in side.held.values())

    def by_cluster(self, *kinds: Kind) -> dict[str, dict[str, int]]:
        """Sums of some kinds (of all, where none is named) by cluster, clusters in ascending order of their names."""
        some = list(kinds or Kind)
        sums = {field.name: getattr(self.totals, field.name)[some].sum(axis=0).tolist() for field in fields(Totals)}
        names = self.fleet.cluster_names.names[: self.totals.energy_mwh.shape[1]]
        return {
            name: {field: values[code] for field, values in sums.items()}
            for name, code in sorted((name, code) for code, name in enumerate(names) if code)
        }

    def sha(self) -> bytes:
        """Hash of the ledger: every booking so far in its order, what is running, and the sums."""
        sha = hashlib.sha256(self._chain)
        sha.update(self.upto.to_bytes(8, "little", signed=True))
        for meters in (self._runs.meters, self._servings.meters):
            for column in meters.rows.values():
                sha.update(column[meters.active].data)
        sha.update(self._idle.rows.tobytes())
        for field in fields(Totals):
            sha.update(getattr(self.totals, field.name).tobytes())
        sha.update(repr(sorted(self.assumed.items())).encode())
        return sha.digest()

    # ----------------------------------------------------------------------------------------------------- booking

    def _collect(self, mirror: Mirror, first: int, upto: int) -> list[Jobs]:
        """Follow the mirror and gather what is due."""
        curves_changed = self.curves.update(mirror)
        fleet_changed = self.fleet.update(mirror)
        fees_changed = self.fees.update(mirror) or self.fees.timed
        self._runs.read(mirror, rates_changed=fleet_changed or fees_changed)
        self._servings.read(mirror, rates_changed=fleet_changed)
        if fleet_changed or len(self._idle.rows) < len(self.fleet.clusters):
            self._idle.read(first)
        if curves_changed or fleet_changed or len(self._zone_of_cluster) < len(self.fleet.clusters):
            self._zone_of_cluster = self.curves.zones(self.fleet.zone_names)
        return [
            *self._runs.taken_back,
            self._runs.meters.due(Kind.TASK, upto),
            *self._servings.taken_back,
            self._servings.meters.due(Kind.SERVICE, upto),
            self._idle.due(upto),
        ]

    def _settle(self, parts: list[Jobs]) -> Bookings:
        jobs = join(parts)
        booked = [settle(jobs, self.curves.pieces, self._zone_of_cluster[jobs.cluster])]
        if jobs.rate.any():
            booked.append(data_rates(jobs))
        booked += self._runs.paid
        self._runs.taken_back, self._runs.paid, self._servings.taken_back = [], [], []
        return join(booked)


def _chained(chain: bytes, bookings: Bookings) -> bytes:
    sha = hashlib.sha256(chain)
    for field in fields(Bookings):
        sha.update(np.ascontiguousarray(getattr(bookings, field.name)).tobytes())
    return sha.digest()
