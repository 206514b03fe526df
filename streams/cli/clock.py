"""``cpn clock``: the one process that moves a running twin's time."""

import time
from typing import Annotated

import typer
from rich.markup import escape

from producers.clock import ClockWriter, Ticks, default_step_ms
from producers.pace import Pace
from producers.scenario import preset_names
from producers.scenario.generate import T0
from producers.scenario.tables import preset
from streams.cli.kafka import Bootstrap, Interruptible, Namespace, broker_settings
from streams.cli.output import JsonFlag, command, duration_ms, err, instant_ms, iso, print_json, window_length_ms
from twin.errors import ConfigError


@command
def clock(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Begin where this built-in scenario does, once its first events are there, with its windows: "
            + ", ".join(preset_names())
            + "."
        ),
    ] = None,
    window: Annotated[str | None, typer.Option(help="Length of a window; default 5s, of a scenario 15m.")] = None,
    lateness: Annotated[
        str | None, typer.Option(help="How long a window waits for late events, such as 30s; default: not at all.")
    ] = None,
    max_ahead: Annotated[
        str, typer.Option("--max-ahead", help="Events further ahead of the clock than this are refused.")
    ] = "48h",
    tick: Annotated[
        str | None,
        typer.Option(
            help="Event time between two clocks, a part of --window; default: about a second of the wall clock."
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Event time against the wall clock: 1x, or 60x: an hour in a minute.")
    ] = "1x",
    start: Annotated[
        str | None, typer.Option("--from", help="Event time of the first clock: now (default), ISO 8601 or epoch ms.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End with the first clock at or after this event time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the time to every partition of every in-topic: clocks end windows. A twin has one clock; it runs until Ctrl-C.

    Started again, it goes on behind the last clock in the topics.

    Examples:
      cpn clock --window 5s --lateness 1s

      cpn clock --scenario edwc --speed 60x
    """
    settings = broker_settings(bootstrap, namespace)
    if scenario is not None:
        preset(scenario)
    window_ms = window_length_ms(window or ("15m" if scenario else "5s"))
    pace = Pace(speed)
    if pace.factor is None:
        raise ConfigError("--speed max: a clock needs a pace, such as 600x")
    ticks = Ticks(
        window_ms=window_ms,
        lateness_ms=duration_ms(lateness) if lateness else 0,
        max_ahead_ms=duration_ms(max_ahead),
        step_ms=duration_ms(tick) if tick else default_step_ms(window_ms, pace.factor),
    )
    end_ms = instant_ms(until) if until else None
    with (
        Interruptible() as steps,
        ClockWriter(settings.bootstrap, settings.namespace, ticks, start=_start(start, scenario)) as writer,
    ):
        pace = Pace(speed, sleep=steps.sleep)
        if not as_json:
            goes_on = "goes on" if writer.before is not None else "begins"
            err.print(
                f"clock of {escape(settings.namespace)} {goes_on} at {iso(writer.next)}, every {ticks.step_ms / 1000:g} s, "
                f"windows of {window_ms / 1000:g} s, {speed}; Ctrl-C ends it",
                soft_wrap=True,
            )
        try:
            if scenario is not None:
                writer.wait_for_events(steps.check)  # `cpn produce` sends what is known before time begins
            writer.run(pace, until=end_ms, on_tick=lambda _t: steps.check())
        except KeyboardInterrupt:
            err.print("stopped; started again, it goes on from there")
        last = writer.next - ticks.step_ms if writer.written else writer.before
    if as_json:
        print_json({"namespace": settings.namespace, "last_t": last, "ticks": writer.written})


def _start(text: str | None, scenario: str | None) -> int:
    if text is None and scenario is not None:
        return T0
    return time.time_ns() // 1_000_000 if text in {None, "now"} else instant_ms(str(text))
