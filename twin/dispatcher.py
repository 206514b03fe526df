"""One window, from the cuts of all shards to its decisions: what both runtimes call, in the same order.

Everything that decides comes from the log (policy and accounting are control events) or from the carry, so the same
cuts give the same decisions, byte for byte.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from twin import orders
from twin.announce import Solved, TwinHashes, decisions_out, window_out
from twin.arrays import Float1
from twin.carry import At, Carry, CarryHeader, PricesCarry, decode_carry, encode_carry
from twin.decisions import REFUSED, Decision, WindowRecord
from twin.dispatch import dispatch
from twin.dispatch.check import check
from twin.dispatch.policy import Policy
from twin.energy.ledger import Bookings, Ledger
from twin.errors import ConfigError, TwinBug, TwinError
from twin.mirror import Mirror
from twin.orders import DEFAULT_POLICY, Accounting
from twin.packed import pack, unpack
from twin.placement import Placement
from twin.shards.shard import SCHEMA
from twin.sites import Sites
from twin.snapshot import ViewBuilder
from twin.view import Action, Decisions, PriceCarry, Reason, State, View

__all__ = ["DEFAULT_POLICY", "Accounting", "Dispatcher", "Window", "stay"]

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Window:
    """A window as decided: its record, the decisions, what was booked, and the view it was decided on."""

    record: WindowRecord
    decisions: list[Decision]
    bookings: Bookings
    view: View


class Dispatcher:
    """Carries placement, prices, splits and ledger from window to window.

    ``patient``: a window whose policy cannot be stays as it was and says so, instead of ending the run. A twin that lives
    on could else never be cured: nobody can take the record back.
    """

    def __init__(self, partitions: dict[str, int], *, seed: int = 0, patient: bool = False) -> None:
        self.mirror = Mirror(partitions)
        self.sites = Sites()
        self.placement = Placement(partitions["tasks"])
        self.ledger: Ledger | None = None
        self.seed = seed
        self._patient = patient
        self.decisions_sha = bytes(32)
        self._builder = ViewBuilder(self.sites)
        self._prices = PriceCarry.empty()
        self._splits: dict[str, Float1] = {}

    def decide(
        self,
        window: int,
        skipped: tuple[int, ...],
        *,
        window_ms: int,
        lateness_ms: int,
        solve_clock: Callable[[], float],
    ) -> Window:
        """Decide on the snapshot that the mirror now holds. ``window`` is the end of the window, ms.

        ``solve_clock`` only measures; nothing depends on it.

        Raises:
            ConfigError: the log asks for what cannot be (another currency; no such policy or place, unless ``patient``).
        """
        effective_at = window + lateness_ms
        accounting = self.accounting()
        if self.ledger is None:
            self.ledger = Ledger(self.mirror, accounting.currency, accounting.market, first=window - window_ms)
        _check_same(self.ledger, accounting)
        bookings = self.ledger.book(self.mirror, window)
        self.sites.refresh(self.mirror)
        live = self.placement.follow(self.mirror, self.sites, effective_at=effective_at, window_ms=window_ms)
        view = self._builder.build(
            self.mirror,
            self.placement,
            live,
            self.ledger.curves,
            self._splits,
            window=window,
            effective_at=effective_at,
            window_ms=window_ms,
            market=accounting.market,
            rates=accounting.rates,
        )
        policy, refused = self._policy(view)
        began = solve_clock()
        decisions, error, violations = (stay(view), refused, []) if refused else self._solve(view, policy)
        solved = Solved(decisions, error, violations, (solve_clock() - began) * 1000)
        mode = orders.mode(self.mirror)
        wire = decisions_out(view, decisions, policy.name, splits=self._splits, advice=mode == "advisory")
        if mode == "on":
            transfer = _transfer_s(view, decisions)
            self.placement.decide(live, decisions, effective_at=effective_at, window_ms=window_ms, transfer_s=transfer)
            self._splits = {key: decisions.split[d] for d, key in enumerate(view.services.keys)}
        elif mode == "pause":
            wire = []
        sha = hashlib.sha256(b"\n".join(_encode(decision) for decision in wire)).digest()
        self.decisions_sha = hashlib.sha256(self.decisions_sha + sha).digest()
        self.mirror.read()
        splits = sum(decision.action == "split" for decision in wire)
        solved = replace(solved, splits=splits, published=len(wire))
        return Window(window_out(view, solved, policy, bookings, self._hashes(skipped)), wire, bookings, view)

    def _policy(self, view: View) -> tuple[Policy, str]:
        """The policy in force, and why it cannot be followed where it cannot."""
        try:
            policy = orders.policy(self.mirror)
            policy.require_place(view.clusters.ids, view.clusters.zone)
        except ConfigError as error:
            if not self._patient:
                raise
            return orders.asked_policy(self.mirror), f"{REFUSED}{error}"
        return policy, ""

    def _hashes(self, skipped: tuple[int, ...]) -> TwinHashes:
        meters = [shard.tables["clusters"].live()["meter_at"] for shard in self.mirror.of("telemetry")]
        return TwinHashes(
            skipped=skipped,
            positions=self.mirror.positions(),
            state_sha256=self.mirror.state_sha256(),
            carry_sha256=self.carry_sha256(),
            decisions_sha256=self.decisions_sha.hex(),
            seed=self.seed,
            meter_at=[at for ages in meters for at in ages.tolist()],
        )

    def accounting(self) -> Accounting:
        """Currency, settlement market and penalties in force.

        Raises:
            ConfigError: a penalty is no number from 0 to 1e9.
        """
        return orders.accounting(self.mirror)

    # ---------------------------------------------------------------------------------------------------- solving

    def _solve(self, view: View, policy: Policy) -> tuple[Decisions, str, list[str]]:
        """Dispatch and check. If either fails the window stays as it was and says so."""
        try:
            decisions, prices = dispatch(view, self._prices, policy, self.seed)
            violations = check(view, decisions)
        except ConfigError:
            raise  # what was asked for cannot be: nobody is helped by windows that stay as they are
        except (TwinError, ArithmeticError, LookupError, ValueError, TypeError) as error:
            return stay(view), f"{type(error).__name__}: {error}", []
        if violations:
            return stay(view), violations[0], violations
        self._prices = prices
        return decisions, "", []

    # ------------------------------------------------------------------------------------------------------ carry

    def carry(self) -> bytes:
        """What it takes to go on from here in another process; equal states give equal bytes.

        Raises:
            TwinBug: no window was decided yet.
        """
        if self.ledger is None:
            raise TwinBug("there is nothing to carry before the first window")
        header = CarryHeader(
            schema=SCHEMA,
            window=self.ledger.upto,
            seed=self.seed,
            shards=[At(*at, shard.next, shard.serial) for at, shard in self.mirror.shards.items()],
            state_sha256=self.mirror.state_sha256(),
            carry_sha256=self.carry_sha256(),
        )
        prices, keys = self._prices, sorted(self._splits)
        carry = Carry(
            self.decisions_sha,
            self.sites.carry(),
            self.placement.carry(),
            PricesCarry(pack(prices.pool_prices), pack(prices.power_prices), prices.cursor),
            keys,
            pack(np.stack([self._splits[key] for key in keys]) if keys else np.zeros((0, 0))),
            self.ledger.carry(),
        )
        return encode_carry(header, carry)

    @classmethod
    def restore(
        cls, partitions: dict[str, int], mirror: Mirror, carry: bytes, *, seed: int, patient: bool = False
    ) -> "Dispatcher":
        """The dispatcher that made ``carry``. ``mirror`` stands at its window and is followed from there.

        Raises:
            ConfigError: the carry is of another version, seed, number of partitions or log.
            StoreError: it is damaged.
            TwinBug: ``mirror`` stands elsewhere, or what was restored is not what was carried.
        """
        header, body = decode_carry(carry)
        header.require(mirror, seed)
        mirror.read()  # what was changed and freed up to here has been looked at
        dispatcher = cls(partitions, seed=seed, patient=patient)
        dispatcher.mirror = mirror
        dispatcher.decisions_sha = body.decisions_sha
        dispatcher.sites.restore(body.sites)
        dispatcher.placement.restore(body.placement, mirror)
        dispatcher.ledger = Ledger.restore(body.ledger, mirror, header.window)
        prices, splits = body.prices, unpack(body.splits, np.float64)
        dispatcher._prices = PriceCarry(
            unpack(prices.pool_prices, np.float64), unpack(prices.power_prices, np.float64), prices.cursor
        )
        dispatcher._splits = dict(zip(body.split_keys, splits, strict=True))
        if dispatcher.carry_sha256() != header.carry_sha256:
            raise TwinBug(f"the carry of window {header.window} was restored to something else than was carried")
        return dispatcher

    def carry_sha256(self) -> str:
        """Hash of all that is carried: placement, prices, splits, ledger."""
        sha = hashlib.sha256(self.placement.sha())
        sha.update(self._prices.pool_prices.tobytes() + self._prices.power_prices.tobytes())
        sha.update(str(self._prices.cursor).encode())
        for key in sorted(self._splits):
            sha.update(key.encode() + self._splits[key].tobytes())
        if self.ledger is not None:
            sha.update(self.ledger.sha())
        return sha.hexdigest()


def _check_same(ledger: Ledger, accounting: Accounting) -> None:
    """Refuse to go on in another currency or market than was booked in so far."""
    for what, booked, said in (
        ("currency", ledger.currency, accounting.currency),
        ("settlement_market", ledger.curves.market, accounting.market),
    ):
        if not booked:
            if said:
                message = f"there is a {what} only now, {said!r}: name it in a policy.set.v1 accounting before the first window"
                raise ConfigError(message)
        elif said != booked:
            raise ConfigError(
                f"policy.set.v1 accounting: {what} is {said!r} now and was {booked!r}: a run has one from its first window on"
            )


def stay(view: View) -> Decisions:
    """Decide nothing: every task keeps its place and every service its split."""
    none_i, none_f = np.zeros(0, np.int64), np.zeros(0)
    waiting = view.tasks.state == State.WAITING
    demand = view.services.tokens_per_s
    return Decisions(
        task=none_i, action=np.zeros(0, np.uint8), pool=none_i, start_at=none_i, runner_up=none_i,
        runner_up_more=none_f, delta_energy=none_f, delta_network=none_f, delta_move=none_f, delta_carbon_g=none_f,
        delta_rtt_ms=none_f, binding=np.zeros(0, np.uint8),
        unplaced=np.where(waiting, np.uint8(Reason.POLICY), np.uint8(Reason.NONE)),
        split=view.services.split,
        unserved=np.maximum(demand - view.services.split.sum(axis=1), 0),
        tier="delta",
    )  # fmt: skip


def _transfer_s(view: View, d: Decisions) -> Float1:
    """Seconds to carry each decision's state to its new place, (K,); unknown bandwidth: 0."""
    seconds = np.zeros(len(d.task))
    moves = np.flatnonzero(d.action == Action.MOVE)
    if len(moves):
        node = view.clusters.node[view.pools.cluster]
        source = view.tasks.reported[d.task[moves]]
        mbps = view.network.available_mbps[node[source], node[d.pool[moves]]]
        known = ~np.isnan(mbps) & (mbps > 0) & (source >= 0)
        gigabytes = view.tasks.state_gb[d.task[moves]]
        seconds[moves] = np.where(known, gigabytes * 8000 / np.where(known, mbps, 1.0), 0.0)
    return seconds
