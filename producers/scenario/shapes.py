"""Catalogue requests: every size a class of tasks may ask for, on every list of models that will do."""

from dataclasses import dataclass

from producers.scenario.tables import TaskClass, Workload
from twin.events import Request

WHOLE_NODE = 8
"""Accelerators of a whole node; a bigger request takes whole nodes, and starts on all of them or on none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One catalogue request of a class. ``cores`` and ``mem_gib`` are totals over its nodes."""

    task_class: TaskClass
    compatible: tuple[str, ...]
    accelerators: int
    nodes: int
    cores: int
    mem_gib: int

    @property
    def amount(self) -> int:
        """What is counted of it: accelerators, or cores where it needs none."""
        return self.accelerators or self.cores

    def request(self) -> Request:
        """The request as it stands in the event."""
        return Request(
            accelerators=self.accelerators,
            compatible=list(self.compatible),
            nodes=self.nodes,
            cpu_cores=float(self.cores),
            mem_gib=float(self.mem_gib),
        )


def sizes_of(c: TaskClass, max_gang: int) -> list[int]:
    """Sizes of a class in a scenario whose largest gang is ``max_gang``: accelerators, or cores where it needs none."""
    return [size for size in c.accelerators if size <= max_gang] or c.accelerators[:1] or c.cores


def shapes_of(workload: Workload, max_gang: int) -> tuple[Shape, ...]:
    """All shapes: classes in the order of the table, in each the lists of models, in each the sizes."""
    return tuple(
        _shape(c, tuple(models), size)
        for c in workload.classes
        for models in c.compatible
        for size in sizes_of(c, max_gang)
    )


def _shape(c: TaskClass, models: tuple[str, ...], size: int) -> Shape:
    if c.accelerators:
        nodes = max(1, size // WHOLE_NODE)
        return Shape(c, models, size, nodes, size * c.cores_per_accelerator, size * c.gib_per_accelerator)
    return Shape(c, models, 0, 1, size, size * c.gib_per_core)
