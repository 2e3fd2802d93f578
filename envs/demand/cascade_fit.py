"""Fit a cascade to the counts of a record.

The variances of the factors are those whose closed form has the record's Fano factors, scale by scale. A finite record
shows less variance than the process has, because swings slower than the record shift its mean. So the fit subtracts
the closed form over the whole record.

Fano factors do not tell on-off traffic from traffic that is only uneven; the number of empty windows does. Of several
shares of busy time, each with its best variances, the fit takes the one with the least sum of two errors: that of the
Fano factors, and the distance between the distributions of drawn and recorded counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from tokenfleet.envs.demand.counts import counts
from tokenfleet.envs.layers.agents.cascade import CascadeSpec, SpellsSpec, mean_variance
from tokenfleet.envs.layers.agents.fitted import DemandSpec
from tokenfleet.envs.layers.agents.joint_lengths import JointLengthsSpec

FloatArray = NDArray[np.float64]
WINDOWS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 86_400.0)
FEWEST_WINDOWS = 5
FINEST_SCALE_S, SCALE_RATIO = 0.5, 4.0
LONGEST_SPELLS_S = 900.0
"""Longest memory of busy spells and pauses [s]: what lasts longer is a swing, or an hour of the day."""
SLOWEST_SHARE = 0.5
"""Slowest scale of the fit, as a share of the record's length."""
BUSY_SHARES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.24, 0.19, 0.15, 0.12, 0.09)
FULL_WEIGHT_WINDOWS, LEAST_WEIGHT = 60, 0.35
RIDGE = 0.02
NOTHING = 0.003
"""A variance up to this is left out."""
JUDGED_WINDOWS_S = (1.0, 10.0, 60.0)
DRAWN_REQUESTS, DRAWN_SPANS, FEWEST_DRAWN_WINDOWS = 200_000, 20.0, 50.0
SIMPLER = 0.01
"""How much smaller the error of on-off traffic must be for it to be preferred over a rate that is only uneven."""


@dataclass(frozen=True)
class Counted:
    """Statistics of a record.

    Attributes:
        rate_rps: mean [requests/s].
        span_s: length [s].
        window_s: lengths of windows, `[W]` [s].
        fano: Fano factors of the counts around the rate expected at that hour, `[W]`.
        windows: how many windows there are, `[W]`.
    """

    rate_rps: float
    span_s: float
    window_s: FloatArray
    fano: FloatArray
    windows: FloatArray

    @classmethod
    def of(cls, arrival_s: FloatArray, span_s: float, expected: Expected) -> Counted:
        """Count a record.

        Args:
            arrival_s: from the record's start, ascending, `[R]` [s].
            span_s: its length [s].
            expected: requests up to a time by the hours' mean rate.
        """
        lengths_s = [w for w in WINDOWS_S if w <= span_s / FEWEST_WINDOWS] or [span_s / FEWEST_WINDOWS]
        fano, windows = [], []
        for window_s in lengths_s:
            found = counts(arrival_s, window_s, span_s)
            mean = np.diff(expected.up_to(window_s * np.arange(len(found) + 1, dtype=np.float64)))
            excess = ((found - mean) ** 2 - found).sum() / (mean**2).sum()
            fano.append(max(1.0 + excess * mean.mean() * len(found) / (len(found) - 1), 1e-3))
            windows.append(len(found))
        rate_rps = len(arrival_s) / span_s
        return cls(rate_rps, span_s, np.array(lengths_s), np.array(fano), np.array(windows, np.float64))


@dataclass(frozen=True)
class Expected:
    """Requests up to a time by the mean rate of each hour."""

    time_s: FloatArray
    requests: FloatArray

    def up_to(self, time_s: FloatArray) -> FloatArray:
        """Requests before some times from the record's start."""
        return np.interp(time_s, self.time_s, self.requests)


def fit_cascade(arrival_s: FloatArray, counted: Counted, seed: int = 0) -> CascadeSpec:
    """The cascade with a record's Fano factors and, as nearly, its distribution of counts.

    Args:
        arrival_s: the record, `[R]` [s].
        counted: what was counted of it.
        seed: of the draws that are compared with the record.
    """
    tried = [fit_variances(counted, share) for share in BUSY_SHARES]
    distances = [misfit + _distance(arrival_s, counted, cascade, seed) for cascade, misfit in tried]
    distances[0] -= SIMPLER
    return tried[int(np.argmin(distances))][0]


def sample_fano(counted: Counted, cascade: CascadeSpec) -> FloatArray:
    """The Fano factors that a record of this length is expected to have, `[W]`."""
    return _expected_fano(counted, *cascade.components)


def _expected_fano(counted: Counted, scales_s: FloatArray, variances: FloatArray) -> FloatArray:
    lengths_s = np.append(counted.window_s, counted.span_s)
    variance = mean_variance(scales_s, variances, lengths_s)
    in_window = counted.rate_rps * counted.window_s * counted.windows / (counted.windows - 1.0)
    return np.asarray(1.0 + in_window * np.maximum(variance[:-1] - variance[-1], 0.0))


def fit_variances(counted: Counted, busy_share: float) -> tuple[CascadeSpec, float]:
    """The cascade with a record's Fano factors that is busy for a share of the time.

    Args:
        counted: the record.
        busy_share: 1 for one without pauses.

    Returns:
        The cascade, and the root mean square of what is left of the Fano factors, in logarithms.
    """
    finest_s = max(FINEST_SCALE_S, 0.5 * float(counted.window_s[0]))
    slowest_s = SLOWEST_SHARE * counted.span_s
    steps = max(1, int(np.log(max(slowest_s / finest_s, 1.0)) / np.log(SCALE_RATIO)) + 1)
    scales_s = finest_s * SCALE_RATIO ** np.arange(steps, dtype=np.float64)
    weight = np.clip(np.sqrt(counted.windows / FULL_WEIGHT_WINDOWS), LEAST_WEIGHT, 1.0)
    on_off = busy_share < 1.0
    spell_variance = 1.0 / busy_share - 1.0

    def parts(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        if not on_off:
            return scales_s, x
        return np.append(np.exp(x[-1]), scales_s), np.append(spell_variance, x[:-1])

    def residuals(x: FloatArray) -> FloatArray:
        errors = weight * np.log(_expected_fano(counted, *parts(x)) / counted.fano)
        return np.concatenate([errors, RIDGE * np.log1p(x[:steps])])

    longest_s = min(slowest_s, LONGEST_SPELLS_S)
    lower, upper = np.zeros(steps), np.full(steps, 30.0)
    starts = [np.full(steps, 0.05)]
    if on_off:
        lower, upper = np.append(lower, np.log(0.3 * finest_s)), np.append(upper, np.log(longest_s + finest_s))
        guesses_s = [guess for guess in (5.0, 30.0, 300.0) if finest_s < guess < longest_s] or [finest_s]
        starts = [np.append(np.full(steps, 0.05), np.log(guess)) for guess in guesses_s]
    found = min((least_squares(residuals, start, bounds=(lower, upper)) for start in starts), key=lambda one: one.cost)
    swings = {_digits(scale): _digits(v) for scale, v in zip(scales_s, found.x[:steps], strict=True) if v > NOTHING}
    spells = SpellsSpec.of(busy_share, float(np.exp(found.x[-1]))) if on_off else None
    if spells:
        spells = SpellsSpec(mean_busy_s=_digits(spells.mean_busy_s), mean_pause_s=_digits(spells.mean_pause_s))
    cascade = CascadeSpec(spells=spells, swings=swings)
    errors = np.log(sample_fano(counted, cascade) / counted.fano)
    return cascade, float(np.sqrt((errors**2 * weight**2).sum() / (weight**2).sum()))


def _distance(arrival_s: FloatArray, counted: Counted, cascade: CascadeSpec, seed: int) -> float:
    """Mean over windows of the largest difference between the drawn and the recorded distribution of counts."""
    level = JointLengthsSpec(prompt={0.1: 1.0, 0.9: 1.0}, output=({0.1: 1.0, 0.9: 1.0},))
    demand = DemandSpec(name="trial", rate_rps=counted.rate_rps, cascade=cascade, lengths=level)
    enough_s = max(DRAWN_REQUESTS / counted.rate_rps, FEWEST_DRAWN_WINDOWS * JUDGED_WINDOWS_S[-1])
    span_s = min(DRAWN_SPANS * counted.span_s, enough_s)
    drawn_s = demand.sample_arrivals(np.random.default_rng(seed), span_s)
    gaps = []
    for window_s in [w for w in JUDGED_WINDOWS_S if w in counted.window_s] or [float(counted.window_s[0])]:
        recorded, drawn = counts(arrival_s, window_s, counted.span_s), counts(drawn_s, window_s, span_s)
        values = np.unique(recorded)
        below = [np.searchsorted(np.sort(found), values, side="right") / len(found) for found in (recorded, drawn)]
        gaps.append(float(np.abs(below[0] - below[1]).max()))
    return float(np.mean(gaps))


def _digits(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")
