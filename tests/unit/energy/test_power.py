"""Watts of tasks and clusters."""

import numpy as np
import pytest

from twin.energy.power import idle_kw, pue_at_margin, swing_w, task_it_w

NAN = float("nan")


def plain(power: float, accelerators: int, cores: float, w_accelerator: float, w_core: float) -> tuple[float, bool]:
    if power == power:  # noqa: PLR0124 - not NaN
        return power, False
    watts, assumed = 0.0, False
    for n, w in ((accelerators, w_accelerator), (cores, w_core)):
        if n > 0 and np.isnan(w):
            assumed = True
        elif n > 0:
            watts += n * w
    return watts, assumed


def test_task_power_is_its_own_or_that_of_its_devices_like_a_plain_loop() -> None:
    cases = [
        (power, accelerators, cores, chip, core)
        for power in (NAN, 0.0, 350.0)
        for accelerators in (0, 8)
        for cores in (0.0, 16.0)
        for chip in (NAN, 320.0)
        for core in (NAN, 5.5)
    ]
    watts, assumed = task_it_w(*(np.array(column) for column in zip(*cases, strict=True)))
    assert list(zip(watts.tolist(), assumed.tolist(), strict=True)) == [plain(*case) for case in cases]


def test_a_busy_device_adds_what_lies_between_idle_and_full_load() -> None:
    swing = swing_w(np.array([60.0, 90.0, NAN]), np.array([400.0, 80.0, 400.0]))
    assert swing[:2].tolist() == [340.0, 0.0]
    assert np.isnan(swing[2])


def test_idle_power_is_the_registered_one_else_that_of_all_devices() -> None:
    devices, watts = np.array([16.0, 384.0]), np.array([50.0, 1.0])
    assert idle_kw(2.0, devices, watts) == (2.0, False)
    assert idle_kw(NAN, devices, watts) == (pytest.approx(1.184), False)
    assert idle_kw(NAN, devices, np.array([50.0, NAN])) == (0.8, True)
    assert idle_kw(NAN, np.array([0.0, 384.0]), np.array([NAN, 1.0])) == (0.384, False)


def test_unknown_pue_is_one_and_said_to_be_assumed() -> None:
    pue, assumed = pue_at_margin(np.array([1.2, NAN]))
    assert pue.tolist() == [1.2, 1.0]
    assert assumed.tolist() == [False, True]
