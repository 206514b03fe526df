"""What every oracle keeps: rows by id in dicts, numbers of rows, texts in order, and exact sets of sequence numbers."""

from typing import Any


class Seen:
    """The sequence numbers of one identity, as a set."""

    def __init__(self) -> None:
        self.taken: set[int] = set()

    def judge(self, seq: int) -> str:
        """What becomes of a record; remembers it if it counts."""
        if not self.taken or seq > max(self.taken):
            outcome = "folded"
        elif seq <= max(self.taken) - 64:
            return "seq.too_old"
        elif seq in self.taken:
            return "repeats"
        else:
            outcome = "older"
        self.taken.add(seq)
        return outcome

    @property
    def high(self) -> int:
        return max(self.taken) + 1 if self.taken else 0

    @property
    def mask(self) -> int:
        return sum(1 << self.high - 1 - seq for seq in self.taken if self.high - seq <= 64)


class Book:
    """A table: rows as dicts by id. A freed row's number is given to the next new id, the lowest first."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.names: list[str | None] = []
        self.texts: dict[str, list[str]] = {}

    def row(self, name: str) -> dict[str, Any]:
        if name not in self.rows:
            self.rows[name] = {}
            if None in self.names:
                self.names[self.names.index(None)] = name
            else:
                self.names.append(name)
        return self.rows[name]

    def number(self, name: str) -> int:
        return self.names.index(name)

    def free(self, names: list[str]) -> None:
        for name in names:
            self.names[self.number(name)] = None
            del self.rows[name]

    def note(self, column: str, text: str) -> str:
        """Note a text in a column's dictionary."""
        known = self.texts.setdefault(column, [""])
        if text not in known:
            known.append(text)
        return text


def latest(row: dict[str, Any], t: int) -> None:
    """Raise the row's last event time."""
    row["last_t"] = max(row.get("last_t", 0), t)


def identity(row: dict[str, Any], seen: Seen, prefix: str = "") -> None:
    """Write what ``seen`` is as the columns of an identity."""
    row[f"{prefix}high"], row[f"{prefix}seen"] = seen.high, seen.mask


def number(value: float | None) -> float:
    """A float column: absent is NaN."""
    return float("nan") if value is None else float(value)
