"""Electrical power: what a task adds to a cluster, what a cluster draws without tasks, and what the building adds.

A device is idle or busy: idle devices belong to the cluster, a task pays the difference to full load. What a dataset
does not say is taken as nothing and reported as assumed, so that a bill never hides a guess.
"""

import numpy as np

from twin.arrays import AnyArray, Bool1, Float1


def task_it_w(
    power_w: Float1, accelerators: AnyArray, cores: Float1, w_accelerator: Float1, w_core: Float1
) -> tuple[Float1, Bool1]:
    """IT watts of running tasks, (n,), and where a device had to be assumed to draw nothing, (n,).

    ``power_w`` holds where it is known (not NaN); else accelerators · ``w_accelerator`` + cores · ``w_core``, the watts
    between idle and full load of one device (:func:`swing_w`, NaN where unknown).
    """
    by_power = ~np.isnan(power_w)
    chips = np.where(accelerators > 0, accelerators * w_accelerator, 0.0)
    threads = np.where(cores > 0, cores * w_core, 0.0)
    assumed: Bool1 = ~by_power & (np.isnan(chips) | np.isnan(threads))
    devices = np.nan_to_num(chips) + np.nan_to_num(threads)
    return np.where(by_power, power_w, devices), assumed


def swing_w(w_idle: Float1, w_max: Float1) -> Float1:
    """Watts that one busy device adds to an idle one, NaN where unknown, never below 0."""
    result: Float1 = np.maximum(w_max - w_idle, 0.0)
    return result


def idle_kw(registered_kw: float, devices: Float1, w_idle: Float1) -> tuple[float, bool]:
    """IT kW of a cluster without tasks, and whether a device had to be assumed to draw nothing.

    ``registered_kw`` where it is known (not NaN), else the sum over kinds of device of ``devices`` · ``w_idle``.
    """
    if not np.isnan(registered_kw):
        return float(registered_kw), False
    watts = np.where(devices > 0, devices * w_idle, 0.0)
    return float(np.nan_to_num(watts).sum() / 1000.0), bool(np.isnan(watts).any())


def pue_at_margin(pue_a: Float1) -> tuple[Float1, Bool1]:
    """Facility watts per IT watt, (n,), and where 1.0 had to be assumed.

    The overhead is a + b · (1 − load). One task more or less is billed at ``a``: the part with ``b`` does not grow with
    load, so it is nobody's in particular. The same ``a`` is used for idle power, so that idle and tasks add up to the
    facility power that power caps are held against.
    """
    assumed: Bool1 = np.isnan(pue_a)
    return np.where(assumed, 1.0, pue_a), assumed
