"""What ``cpn up`` shows: a table that is drawn anew on a terminal, a line whenever something happened elsewhere."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Group
from rich.live import Live
from rich.table import Table

from streams.cli.output import iso, out
from streams.cli.up_twin import LocalTwin


@contextlib.contextmanager
def screen(twin: LocalTwin) -> Iterator[Callable[[], None]]:
    """A table that is drawn anew on a terminal; elsewhere a line now and then."""
    if not out.is_terminal:
        yield _Lines(twin).show
        return
    with Live(console=out, auto_refresh=False) as live:
        yield lambda: live.update(_picture(twin), refresh=True)


class _Lines:
    """For logs and pipes: where things are, then a line whenever windows were decided."""

    def __init__(self, twin: LocalTwin) -> None:
        self._twin, self._windows = twin, -1.0
        out.print(_addresses(twin), soft_wrap=True)

    def show(self) -> None:
        """Print what is new."""
        windows = self._twin.total("cpn_windows_total")
        if windows != self._windows:
            self._windows = windows
            out.print(_progress(self._twin), soft_wrap=True)


def _addresses(twin: LocalTwin) -> str:
    return f"Kafka {twin.broker.bootstrap}  Redis {twin.server.url}  logs {twin.place / 'logs'}"


def _progress(twin: LocalTwin) -> str:
    end = twin.latest("cpn_window_end_seconds")
    at = iso(int(end * 1000)) if end else "no window yet (the first takes some seconds)"
    return (
        f"{twin.total('cpn_windows_total'):,.0f} windows, {twin.total('cpn_decisions_total'):,.0f} decisions, "
        f"{twin.total('cpn_records_total'):,.0f} records, {twin.total('cpn_lag_records'):,.0f} records behind, "
        f"{twin.total('cpn_dead_letters_total'):,.0f} dead letters; decided up to {at}"
        + ("; all events are sent" if twin.sent else "")
    )


def _picture(twin: LocalTwin) -> Group:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("process", "state", "pid", "up", "restarts"):
        table.add_column(column, justify="left" if column in {"process", "state"} else "right")
    colours = {"runs": "green", "done": "green", "waits": "yellow", "wrong": "red", "stopped": "dim"}
    for server in (twin.broker, twin.server):
        state = "[green]runs[/]" if server.alive else "[red]ended[/]"
        table.add_row(server.name, state, str(server.pid or ""), "", str(twin.restarts[server.name] or ""))
    for process in twin.processes:
        colour = colours[process.state]
        restarts = len(process.exits) - process.done
        table.add_row(
            process.name,
            f"[{colour}]{process.state}[/]",
            str(process.pid or ""),
            f"{process.uptime_s:,.0f} s" if process.pid else "",
            str(restarts or ""),
        )
    hints = [
        "in another terminal:",
        f"  export CPN_BOOTSTRAP={twin.broker.bootstrap} CPN_REDIS_URL={twin.server.url}",
        "  cpn state cluster ID; cpn deadletter list; cpn record --out DIR",
        "Ctrl-C stops all",
    ]
    lines = [_addresses(twin), *hints]
    return Group(table, "", _progress(twin), *(f"[dim]{line}[/]" for line in lines))
