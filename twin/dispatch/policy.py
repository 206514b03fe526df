"""Which dispatcher decides, and with which parameters: read from ``price:break_even_h=2,carbon=0.1`` or from a mapping.

Every policy has defaults for all of its parameters, so a name alone is a policy. What does not exist is refused with a
list of what does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from twin.errors import ConfigError

Value = float | str


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a policy: default, bounds (numbers only) and what it means."""

    default: Value
    about: str
    low: float = 0.0
    high: float = 1e9
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One policy: what it does, its version (raised when the same input gives other decisions) and its parameters."""

    about: str
    version: str
    params: Mapping[str, Param] = field(default_factory=dict)
    argument: str = ""  # parameter that may be given without its name, as in pinned:NL


_CARBON = Param(0.0, "price of carbon in currency per kg CO2e, added to the price of energy")

POLICIES: Mapping[str, Kind] = MappingProxyType(
    {
        "price": Kind(
            "least energy, network and move cost under scarcity prices; moves what pays back",
            "1",
            {
                "break_even_h": Param(3.0, "hours for which today's saving is believed when a move is weighed"),
                "hysteresis": Param(0.5, "share by which a saving has to exceed the cost of the move", 0.0, 100.0),
                "carbon": _CARBON,
                "headroom": Param(0.3, "share of the demand for services that is kept free for its growth", 0.0, 100.0),
                "patience_h": Param(2.0, "hours after which room is kept for a task that finds none"),
                "iterations": Param(100, "price steps in a window without prices to start from", 0, 10_000, whole=True),
                "warm_iterations": Param(
                    15, "price steps in a window that starts from the last", 0, 10_000, whole=True
                ),
            },
        ),
        "cost-greedy": Kind("new work to the cheapest place with room, in order", "1", {"carbon": _CARBON}),
        "stay": Kind("as cost-greedy, and nothing ever moves", "1", {"carbon": _CARBON}),
        "price-greedy": Kind("new work to the lowest energy price", "1"),
        "carbon-greedy": Kind("new work to the lowest carbon intensity; unknown intensity comes last", "1"),
        "latency-first": Kind("new work to the smallest RTT; unknown RTT comes last", "1"),
        "first-fit": Kind("new work to the first pool with room", "1"),
        "best-fit": Kind("new work to the pool that it fills up most", "1"),
        "round-robin": Kind("new work to the next pool with room, in turns", "1"),
        "pinned": Kind(
            "everything to one cluster or the clusters of one zone",
            "1",
            {"place": Param("", "cluster_id or zone_id")},
            argument="place",
        ),
    }
)
"""All policies; the order is that of help texts and tables."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy with all of its parameters (defaults filled in)."""

    name: str
    version: str
    params: Mapping[str, Value]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy of ``NAME`` or ``NAME:KEY=VALUE,...`` (for pinned ``pinned:ZONE_OR_CLUSTER``).

        Raises:
            ConfigError: no such policy or parameter, or a value of the wrong type; says what exists.
        """
        name, _, rest = text.strip().partition(":")
        kind = _kind(name)
        given: dict[str, object] = {}
        for part in filter(None, (p.strip() for p in rest.split(","))):
            key, equals, value = part.partition("=")
            if not equals and kind.argument:
                key, value = kind.argument, part
            elif not equals:
                raise ConfigError(f"policy {name}: '{part}' is not KEY=VALUE; {_parameters(name, kind)}")
            if key.strip() in given:
                raise ConfigError(f"policy {name}: '{key.strip()}' is given twice")
            given[key.strip()] = value.strip()
        return cls.of(name, given)

    @classmethod
    def of(cls, name: str, params: Mapping[str, object] | None = None) -> Self:
        """Return the policy ``name`` with ``params`` over its defaults; numbers may be given as text.

        Raises:
            ConfigError: no such policy or parameter, or a value of the wrong type; says what exists.
        """
        kind = _kind(name)
        values = {key: param.default for key, param in kind.params.items()}
        for key, value in (params or {}).items():
            if key not in kind.params:
                raise ConfigError(f"policy {name} has no parameter '{key}'; {_parameters(name, kind)}")
            values[key] = _checked(name, key, kind.params[key], value)
        if kind.argument and not values[kind.argument]:
            raise ConfigError(f"policy {name} needs to know where: {name}:{kind.argument.upper()}")
        return cls(name, kind.version, MappingProxyType(values))

    @classmethod
    def from_mapping(cls, table: Mapping[str, object]) -> Self:
        """Return the policy of a table as it stands in a file: ``policy`` (or ``name``) and parameters.

        Parameters stand beside the name or in a table ``params``.

        Raises:
            ConfigError: as in :meth:`of`; or there is no name.
        """
        rest = dict(table)
        name = rest.pop("policy", None) or rest.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"a policy needs 'policy = NAME'; policies: {', '.join(POLICIES)}")
        rest.pop("name", None)
        params = rest.pop("params", {})
        if not isinstance(params, Mapping):
            raise ConfigError(f"policy {name}: 'params' must be a table")
        return cls.of(name, {**params, **rest})

    def number(self, key: str) -> float:
        """Return the numeric parameter ``key``."""
        return float(self.params[key])

    def text(self, key: str) -> str:
        """Return the text parameter ``key``."""
        return str(self.params[key])

    def label(self) -> str:
        """Return the text that parses to this policy, defaults left out."""
        kind = POLICIES[self.name]
        given = [
            str(v) if k == kind.argument else f"{k}={v:g}" if isinstance(v, float | int) else f"{k}={v}"
            for k, v in self.params.items()
            if v != kind.params[k].default
        ]
        return self.name + (":" + ",".join(given) if given else "")

    def require_place(self, clusters: Sequence[str], zones: Sequence[str]) -> None:
        """Check that the place a policy is pinned to exists.

        Raises:
            ConfigError: it does not; lists the zones and clusters there are.
        """
        place = self.params.get("place")
        if place is not None and place not in clusters and place not in zones:
            raise ConfigError(
                f"policy {self.label()}: no zone or cluster '{place}'; "
                f"zones: {', '.join(sorted(set(zones)))}; clusters: {', '.join(clusters)}"
            )


def _kind(name: str) -> Kind:
    if name not in POLICIES:
        raise ConfigError(f"no policy '{name}'; policies: {', '.join(POLICIES)}")
    return POLICIES[name]


def _parameters(name: str, kind: Kind) -> str:
    if not kind.params:
        return f"{name} has no parameters"
    return "parameters: " + ", ".join(f"{k} (default {p.default})" for k, p in kind.params.items())


def _checked(name: str, key: str, param: Param, value: object) -> Value:
    """Return ``value`` in the type and within the bounds of ``param``."""
    if isinstance(param.default, str):
        if not isinstance(value, str):
            raise ConfigError(f"policy {name}: {key} must be text, not {value!r}")
        return value
    wanted = f"a {'whole ' if param.whole else ''}number from {param.low:g} to {param.high:g}"
    try:
        number = float(value) if isinstance(value, str | float | int) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    # `not low <= x <= high` also turns NaN away
    if number is None or not param.low <= number <= param.high or (param.whole and number != int(number)):
        raise ConfigError(f"policy {name}: {key} must be {wanted}, not {value!r}")
    return int(number) if param.whole else number
