"""The command ``cpn``: loads the command line, and takes Ctrl-C while that is being loaded for what it is."""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from streams.cli import main as run  # noqa: PLC0415  # loading it takes most of a second

        run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
