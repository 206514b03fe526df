"""One run has one accounting currency. Amounts in another one need an ``fx.rate.v1`` event."""

from twin import events as ev
from twin.errors import ConfigError
from twin.mirror import Mirror
from twin.shards.control import command


def rate_to(mirror: Mirror, currency: str, accounting: str, what: str) -> float:
    """What one unit of ``currency`` is in ``accounting``, by the exchange rates in force.

    Raises:
        ConfigError: there is no rate between the two; ``what`` says where ``currency`` was met.
    """
    if currency == accounting:
        return 1.0
    for shard in mirror.of("control"):
        table = shard.tables["commands"]
        direct, inverse = command(table, f"fx|{currency}"), command(table, f"fx|{accounting}")
        if isinstance(direct, ev.FxRate) and direct.to == accounting:
            return direct.rate
        if isinstance(inverse, ev.FxRate) and inverse.to == currency:
            return 1.0 / inverse.rate
    raise ConfigError(
        f"{what} is in {currency}, but this run accounts in {accounting}: "
        f"give the rate with an fx.rate.v1 event (name {currency}, to {accounting}) before it, or convert the data"
    )
