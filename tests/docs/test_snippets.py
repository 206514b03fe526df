"""What the documentation says to type is typed here, in the order of the page, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
SHELLS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


def run(block: Any, folder: Path) -> str:
    """Run a block; return what it printed, without colours and with single spaces."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [*SHELLS[block.language], block.body],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.page.name}:{block.line} ended with {done.returncode}\n{done.stderr}"
    return done.stdout


def plain(text: str) -> str:
    return re.sub(r"[ \t]+", " ", text)


def missing(expected: str, printed: str) -> list[str]:
    """Return the lines of ``expected`` that were not printed; an ellipsis stands for anything."""
    lines = [plain(line).strip() for line in printed.splitlines()]
    gone = []
    for line in expected.splitlines():
        pattern = ".*".join(map(re.escape, plain(line).strip().split("…")))
        if not any(re.fullmatch(pattern, printed_line) for printed_line in lines):
            gone.append(line)
    return gone


def test_every_block_of_the_readme_that_is_to_be_run_runs_and_prints_what_it_says(
    all_blocks: list[Any], tmp_path: Path
) -> None:
    blocks = [block for block in all_blocks if block.page.name == "README.md"]
    ran, printed = 0, ""
    for block in blocks:
        if block.flag == "run":
            printed = run(block, tmp_path)
            ran += 1
        elif block.flag == "output":
            gone = missing(block.body, printed)
            assert not gone, f"README.md:{block.line}: not printed: {gone}\nbut:\n{printed}"
    assert ran == sum(block.flag == "run" for block in blocks) >= 4


def test_a_flag_of_a_block_is_one_that_means_something(all_blocks: list[Any]) -> None:
    for block in all_blocks:
        assert block.flag in {"", "run", "output"}, f"{block.page}:{block.line}: {block.flag!r}"
        assert block.flag != "run" or block.language in SHELLS, f"{block.page}:{block.line}"
