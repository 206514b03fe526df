"""A process that cannot go on ends at once, with its code, and says why."""

import subprocess
import sys

from streams.exits import Exit

SCRIPT = """
import atexit, logging, logging.handlers, sys, threading, time
from streams.exits import Exit, die

atexit.register(print, "atexit ran")
logging.basicConfig(stream=sys.stderr)
held = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stderr))
logging.getLogger().addHandler(held)
logging.getLogger("x").debug("")
logging.getLogger("x").warning("said before")
threading.Thread(target=time.sleep, args=(60,)).start()
print("half a line", end="")
try:
    {body}
finally:
    print("finally ran")
"""


def ended(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_end_is_at_once_and_what_was_said_is_kept() -> None:
    end = ended('die(Exit.FENCED, "claimed by another")')
    assert end.returncode == 75
    assert "half a line" in end.stdout
    assert end.stderr.count("said before") == 2  # what a handler held back is out too
    assert "process.ends" in end.stdout + end.stderr
    assert "claimed by another" in end.stdout + end.stderr
    assert " ran" not in end.stdout


def test_the_error_in_hand_is_shown_with_its_traceback() -> None:
    end = ended("\n    try: {}['absent']\n    except KeyError: die(Exit.HANDLER, 'no such row')")
    assert end.returncode == 70
    assert "KeyError: 'absent'" in end.stdout + end.stderr


def test_supervisors_may_rely_on_the_codes() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "AWAY": 69, "HANDLER": 70, "WATCHDOG": 71, "FAUST": 72, "CLAIM": 74, "FENCED": 75, "CONTRADICTION": 76, "CONFIG": 78
    }  # fmt: skip
