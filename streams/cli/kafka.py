"""What the commands that talk to Kafka share: where the broker is, and how they end at Ctrl-C."""

import signal
import time
from types import FrameType, TracebackType
from typing import Annotated, Self

import typer

from streams.settings import Settings, load_settings

Bootstrap = Annotated[
    str | None, typer.Option(help="Kafka broker, HOST:PORT; default: CPN_BOOTSTRAP, else 127.0.0.1:9092.")
]
Namespace = Annotated[
    str | None, typer.Option(help="Name of the twin, the prefix of its topics; default: CPN_NAMESPACE, else cpn.")
]
_NAP_S = 0.1


def broker_settings(bootstrap: str | None, namespace: str | None) -> Settings:
    """The settings with what was said on the command line.

    Raises:
        ConfigError: a value is out of its bounds.
    """
    return load_settings(bootstrap=bootstrap, namespace=namespace)


class Interruptible:
    """Ctrl-C and SIGTERM end a command between two of its steps instead of in the middle of one; a second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """A step is done.

        Raises:
            KeyboardInterrupt: the command was asked to end.
        """
        if self.asked:
            raise KeyboardInterrupt

    def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than until the command is asked to end.

        Raises:
            KeyboardInterrupt: it was.
        """
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _NAP_S))
            self.check()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
