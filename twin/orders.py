"""What the log orders: which policy dispatches, in which money a run is reckoned, and whether decisions are acted on.

All of it is control events, so whoever reads the log finds the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twin import events as ev
from twin.dispatch.policy import Policy
from twin.errors import ConfigError
from twin.mirror import Mirror
from twin.shards import control
from twin.view import Rates

DEFAULT_POLICY = "price"
_MOST_PENALTY = 1e9


@dataclass(frozen=True, slots=True)
class Accounting:
    """What the log says of money: currency, the market that bills energy, penalties."""

    currency: str = ""
    market: str = "day_ahead"
    rates: Rates = field(default_factory=Rates)


def accounting(mirror: Mirror) -> Accounting:
    """Currency, settlement market and penalties in force.

    Raises:
        ConfigError: a penalty is no number from 0 to 1e9.
    """
    said = _command(mirror, "policy|accounting")
    if not isinstance(said, ev.PolicySet):
        return Accounting(_only_currency(mirror))
    params = said.params
    rates = Rates(
        penalty_per_accelerator_h=_penalty(params, "penalty_per_accelerator_h", Rates().penalty_per_accelerator_h),
        penalty_per_core_h=_penalty(params, "penalty_per_core_h", Rates().penalty_per_core_h),
    )
    return Accounting(
        str(params.get("currency") or _only_currency(mirror)),
        str(params.get("settlement_market", "day_ahead")),
        rates,
    )


def _only_currency(mirror: Mirror) -> str:
    """The currency of the first price there is, where no accounting event names one."""
    for shard in mirror.of("power"):
        for name in shard.tables["prices"].texts["currency"].names[1:]:
            return name
    return ""


def _penalty(params: Mapping[str, float | bool | str], name: str, default: float) -> float:
    value = params.get(name, default)
    if isinstance(value, bool | str) or not 0 <= value <= _MOST_PENALTY:
        raise ConfigError(
            f"policy.set.v1 accounting: {name} is {value!r}: expected a number from 0 to {_MOST_PENALTY:g}"
        )
    return float(value)


def policy(mirror: Mirror) -> Policy:
    """The dispatch policy in force."""
    said = _command(mirror, "policy|dispatch")
    if not isinstance(said, ev.PolicySet):
        return Policy.parse(DEFAULT_POLICY)
    return Policy.of(said.policy, said.params)


def asked_policy(mirror: Mirror) -> Policy:
    """The dispatch policy in force as the log asks for it, whether it can be or not; without a version."""
    said = _command(mirror, "policy|dispatch")
    return (
        Policy(said.policy, "", dict(said.params)) if isinstance(said, ev.PolicySet) else Policy.parse(DEFAULT_POLICY)
    )


def mode(mirror: Mirror) -> str:
    """Whether decisions are acted on: ``on``, ``advisory`` (they are only shown) or ``pause`` (there are none)."""
    said = _command(mirror, "dispatch|dispatch")
    if isinstance(said, ev.DispatchPause):
        return "pause"
    return "advisory" if isinstance(said, ev.DispatchAdvisory) else "on"


def _command(mirror: Mirror, register: str) -> ev.Event | None:
    for shard in mirror.of("control"):
        said: ev.Event | None = control.command(shard.tables["commands"], register)
        if said is not None:
            return said
    return None
