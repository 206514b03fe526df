"""Reads docker-compose.yml without an engine and without a YAML library: the part of YAML the file keeps to.

That part: comments, block and flow mappings and lists, plain and quoted scalars on one line, ``>-`` folded ones, anchors,
aliases, and ``<<`` with one alias or a list of them. Whatever else it meets it refuses. Where there is a compose command,
a test holds what this reads to be what compose reads.
"""

import re
from typing import Any, NamedTuple

_KEY = re.compile(r"""(?P<key>[A-Za-z0-9_.<-]+|"[^"]*")\s*:(?:\s+|$)""")
_MARK = re.compile(r"(?P<kind>[&*])(?P<name>[\w-]+)\s*")
_PLAIN = re.compile(r"(?:\$\{[^}]*\}|[^,\[\]{}'\"])+")  # within brackets; elsewhere a comma is like any other character


class Line(NamedTuple):
    """A line that says something: its number, its depth in spaces, its text without comment."""

    number: int
    depth: int
    text: str


def read(text: str) -> dict[str, Any]:
    """Return what ``text`` says.

    Raises:
        ValueError: it is no such YAML; the message names the line.
    """
    reader = _Reader([line for n, raw in enumerate(text.splitlines(), 1) if (line := _line(n, raw)).text])
    found = reader.mapping(0)
    if reader.at < len(reader.lines):
        reader.refuse("it stands at no depth")
    return found


def _line(number: int, raw: str) -> Line:
    if "\t" in raw:
        raise ValueError(f"line {number}: a tab")
    quote, end = "", len(raw)
    for at, char in enumerate(raw):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and (at == 0 or raw[at - 1] in " [{,"):
            quote = char
        elif char == "#" and (at == 0 or raw[at - 1] == " "):
            end = at
            break
    bare = raw[:end].rstrip()
    return Line(number, len(bare) - len(bare.lstrip()), bare.strip())


class _Reader:
    def __init__(self, lines: list[Line]) -> None:
        self.lines, self.at = lines, 0
        self.anchors: dict[str, Any] = {}

    def refuse(self, why: str) -> None:
        line = self.lines[min(self.at, len(self.lines) - 1)]
        raise ValueError(f"line {line.number}: {why}: {line.text}")

    def next(self) -> Line | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    # ---------------------------------------------------------------------------------------------------- blocks

    def mapping(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        while (line := self.next()) and line.depth == depth:
            match = _KEY.match(line.text)
            if not match:
                self.refuse("no key")
                break
            key = match["key"].strip('"')
            if key in own:
                self.refuse("said twice")
            value = self.value(line.text[match.end() :], depth)
            own[key] = value
        if line and line.depth > depth:
            self.refuse("deeper than what it belongs to")
        return _merged(own)

    def value(self, rest: str, depth: int) -> Any:
        """What follows a key or a dash at ``depth``; goes on to the line behind it."""
        name = ""
        if (mark := _MARK.match(rest)) and mark["kind"] == "&":
            name, rest = mark["name"], rest[mark.end() :]
        if rest == ">-":
            self.at += 1
            value: Any = " ".join(self.deeper(depth))
        elif rest and rest[0] not in "[{\"'*":
            value = self.scalar(rest)
            self.at += 1
        elif rest:
            value, left = self.flow(rest)
            if left:
                self.refuse(f"left over: {left!r}")
            self.at += 1
        else:
            self.at += 1
            value = self.block(depth)
        if name:
            self.anchors[name] = value
        return value

    def deeper(self, depth: int) -> list[str]:
        texts = []
        while (line := self.next()) and line.depth > depth:
            texts.append(line.text)
            self.at += 1
        return texts

    def block(self, depth: int) -> Any:
        line = self.next()
        if line is None or line.depth <= depth:
            return None
        if not line.text.startswith("- "):
            return self.mapping(line.depth)
        items, inner = [], line.depth
        while (line := self.next()) and line.depth == inner and line.text.startswith("- "):
            items.append(self.value(line.text[2:], inner))
        if line and line.depth > depth:
            self.refuse("no item of its list")
        return items

    # ------------------------------------------------------------------------------------------------------ flow

    def flow(self, text: str) -> tuple[Any, str]:
        """The value that ``text`` begins with, and what is left."""
        if mark := _MARK.match(text):
            if mark["kind"] == "&" or mark["name"] not in self.anchors:
                self.refuse("no such anchor")
            return self.anchors[mark["name"]], text[mark.end() :]
        if text[0] in "[{":
            return self.collection(text)
        if text[0] in "\"'":
            inner, quote, left = text[1:].partition(text[0])
            if not quote or "\\" in inner:
                self.refuse("no end of quotes, or an escape")
            return inner, left.lstrip()
        if match := _PLAIN.match(text):
            return self.scalar(match[0].strip()), text[match.end() :].lstrip()
        self.refuse("no value")
        return None, ""

    def collection(self, text: str) -> tuple[Any, str]:
        closing, rest = {"[": "]", "{": "}"}[text[0]], text[1:].lstrip()
        items: list[Any] = []
        pairs: dict[str, Any] = {}
        while not rest.startswith(closing):
            key = _KEY.match(rest) if closing == "}" else None
            if closing == "}" and not key:
                self.refuse("no key")
            value, rest = self.flow(rest[key.end() :] if key else rest)
            if key:
                pairs[key["key"].strip('"')] = value
            else:
                items.append(value)
            if rest.startswith(","):
                rest = rest[1:].lstrip()
            elif not rest.startswith(closing):
                self.refuse("no comma")
        return (items if closing == "]" else _merged(pairs)), rest[1:].lstrip()

    def scalar(self, text: str) -> Any:
        if re.search(r":(?:\s|$)", text) or re.match(r"[-?>|%@`!&#](?![\w-])|[>|%@`!&#]", text):
            self.refuse("quote it")
        if text in {"true", "false"}:
            return text == "true"
        return int(text) if re.fullmatch(r"[0-9]+", text) else text


def _merged(pairs: dict[str, Any]) -> dict[str, Any]:
    """``pairs`` with what ``<<`` brings; what is said itself goes first, then the first source that says it."""
    sources = pairs.pop("<<", {})
    for source in sources if isinstance(sources, list) else [sources]:
        pairs = source | pairs
    return pairs
