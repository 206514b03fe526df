"""The pages of the documentation, and the fenced blocks in them."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, whether it is to be run, its text, and where it stands."""

    page: Path
    line: int
    language: str
    flag: str
    body: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, _, flag = match["info"].strip().partition(" ")
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, flag, match["body"]))
    return found


@pytest.fixture(scope="session")
def pages(repository: Path) -> list[Path]:
    """Return every page."""
    return [repository / "README.md", repository / "CHANGELOG.md", *sorted((repository / "ops/docs").rglob("*.md"))]


@pytest.fixture(scope="session")
def all_blocks(pages: list[Path]) -> list[Block]:
    """Return the fenced blocks of every page."""
    return [block for page in pages for block in blocks(page)]
