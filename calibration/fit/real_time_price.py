"""The law of a real-time price, fitted to the shipped year of PJM: `python -m calibration.fit.real_time_price`.

What a day-ahead market would have expected of an hour is taken to be the median of the same hour in the week before and
after. The residual's core, within three robust standard deviations (1.4826 times its median absolute value), gives the
Ornstein-Uhlenbeck part: its standard deviation, and its reversion from the correlation of neighbouring hours. What
stands above is a spike: exceedances of an exponential are exponential with the same mean, so the mean excess over the
threshold is the mean jump, and the rate of runs above it, divided by the share of jumps that reach it, the rate of
jumps. A spike decays from its mean peak to the threshold in the mean length of a run.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from tokenfleet.envs.catalog import load_series

DAYS_AROUND = 7
THRESHOLD_SIGMA = 3.0


def residual(name: str = "pjm-2023-price") -> np.ndarray:
    """Price minus its median of the same hour in the days around, `[8760]` [USD/MWh]."""
    days = load_series(name).columns["price_usd_per_mwh"].reshape(-1, 24)
    around = np.stack([np.roll(days, shift, axis=0) for shift in range(-DAYS_AROUND, DAYS_AROUND + 1)])
    return (days - np.median(around, axis=0)).ravel()


def fit(name: str = "pjm-2023-price") -> dict[str, float]:
    """The parameters of `RealTimePriceSpec`, by name."""
    values = residual(name)
    threshold = THRESHOLD_SIGMA * 1.4826 * float(np.median(np.abs(values - np.median(values))))
    core = np.clip(values, -threshold, threshold)
    keep = np.corrcoef(core[:-1], core[1:])[0, 1]
    runs = _runs(values > threshold)
    peak = np.array([values[first:last].max() for first, last in runs])
    hours = np.array([last - first for first, last in runs])
    mean_excess = float(peak.mean()) - threshold
    return {
        "sigma_usd_per_mwh": float(values[np.abs(values) < threshold].std()),
        "reversion_per_h": -math.log(keep),
        "spikes_per_h": len(runs) / len(values) * math.exp(threshold / mean_excess),
        "spike_usd_per_mwh": mean_excess,
        "spike_decay_per_h": math.log(float(peak.mean()) / threshold) / float(hours.mean()),
    }


def main() -> None:
    """Print the fit."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, value in fit().items():
        print(f"{name}: {value:.3g}")


def _runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """First index and the one after the last of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, inside, False]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


if __name__ == "__main__":
    main()
