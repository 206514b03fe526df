"""Records of one partition as columns of Python lists: what one fetch, or one read of a log file, brought."""

from dataclasses import dataclass, field
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class Record(NamedTuple):
    """One record as a broker holds it; ``t`` is its timestamp in ms."""

    offset: int
    t: int
    key: bytes | None
    value: bytes
    headers: Headers = ()


@dataclass(slots=True)
class Records:
    """Records of one partition in log order, log position [base, next): offsets may have holes.

    ``offsets``, ``times``, ``keys`` and ``values`` are of one length; ``headers`` is empty when no record has any.
    """

    base: int
    next: int
    offsets: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def record(self, i: int) -> Record:
        """The ``i``-th record whole."""
        return Record(
            self.offsets[i], self.times[i], self.keys[i], self.values[i], self.headers[i] if self.headers else ()
        )
