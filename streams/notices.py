"""Notices on ``cpn.cuts``: that a shard was cut. Hints only: what is stored is the truth, and a claim sends them again."""

from typing import NamedTuple

import msgspec


class Notice(NamedTuple):
    """Shard ``topic``-``partition`` has stored its cut number ``serial``, and all before it."""

    topic: str
    partition: int
    serial: int


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Notice).decode
