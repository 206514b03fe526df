"""The built-in scenario, "East Data, West Computing", and differently shaped ones from the same generator.

``generate`` makes the events of a day from public facts and stated assumptions (the TOML tables in ``data``) and a seed. It
is the one place of the product where random numbers are drawn; what comes after reads the log.
"""

from producers.scenario.capacity import Balance
from producers.scenario.generate import Scenario, generate
from producers.scenario.tables import presets

__all__ = ["Balance", "Scenario", "generate", "preset_names"]


def preset_names() -> list[str]:
    """Names of the presets, the default first."""
    return list(presets())
