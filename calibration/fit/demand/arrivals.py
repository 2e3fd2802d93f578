"""How bursty requests are, recorded and drawn, and the fitted process: `python -m calibration.fit.demand.arrivals`."""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import minimize
from scipy.special import gamma

from tokenfleet.envs.catalog import load_clients, load_trace
from tokenfleet.envs.demand.counts import fano_factor
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.agents import (
    HawkesStream,
    PoissonStream,
    ServeGenStream,
    StreamSpec,
    TokenLengthSpec,
)
from tokenfleet.envs.layers.agents.hawkes import hawkes_fano_factor

WINDOWS_S = (1.0, 10.0, 60.0)  # an hour of Azure chat holds 58 windows of a minute; five of ten minutes say nothing


def recorded_fano_factors() -> dict[float, float]:
    """Fano factors of one hour of Azure chat, by window [s]."""
    arrival_s = load_trace("azure-chat-2023").arrival_s
    return {window_s: fano_factor(arrival_s, window_s, float(arrival_s[-1])) for window_s in WINDOWS_S}


def fit_hawkes() -> tuple[float, float]:
    """Branching ratio and decay [s] with the recorded Fano factors, least squares of logarithms."""
    recorded = recorded_fano_factors()

    def error(parameters: Array) -> float:
        ratio, decay_s = 1.0 / (1.0 + np.exp(-parameters[0])), np.exp(parameters[1])
        logs = [np.log((hawkes_fano_factor(ratio, decay_s, w) - 1.0) / (f - 1.0)) for w, f in recorded.items()]
        return float(np.square(logs).sum())

    best = minimize(error, np.array([1.5, 2.0]), method="Nelder-Mead").x
    return float(1.0 / (1.0 + np.exp(-best[0]))), float(np.exp(best[1]))


def generated_fano_factors(stream: StreamSpec, seeds: int, horizon_s: float = 3600.0) -> dict[float, Array]:
    """Fano factors of `seeds` draws of a stream, by window [s]."""
    draws = [stream.sample(np.random.default_rng(seed), horizon_s, "train").arrival_s for seed in range(seeds)]
    return {
        window_s: np.array([fano_factor(arrival_s, window_s, horizon_s) for arrival_s in draws])
        for window_s in WINDOWS_S
    }


def servegen_fano_factor(rate_rps: float) -> float:
    """Fano factor of the recorded clients in whole windows of ten minutes, sped up or down to a mean rate.

    The factor is a sum of two: of the windows' rates, and of renewals inside of a window. Over windows much longer than
    a gap, the Fano factor of a renewal process is the squared coefficient of variation of its gaps.
    """
    table = load_clients("servegen-m-large")
    rate = table.rate_rps.astype(np.float64) * rate_rps / table.mean_rate_rps
    counts = rate.sum(axis=0) * table.window_s[0]
    shape, weibull = table.shape.astype(np.float64), table.weibull
    safe = np.where(shape > 0, shape, 1.0)
    squared_cv = np.where(weibull, gamma(1 + 2 / safe) / gamma(1 + 1 / safe) ** 2 - 1, 1 / safe)
    return float(counts.var(ddof=1) / counts.mean() + np.average(squared_cv, weights=rate))


def drawn_servegen_fano_factors(rate_rps: float, seeds: int) -> Array:
    """Fano factors of draws of the whole week, in windows of ten minutes."""
    horizon_s = load_clients("servegen-m-large").span_s - 600.0
    stream = ServeGenStream(request_class="chat", rate_rps=rate_rps)
    draws = [stream.sample(np.random.default_rng(seed), horizon_s, "train").arrival_s for seed in range(seeds)]
    return np.array([fano_factor(arrival_s, 600.0, horizon_s) for arrival_s in draws])


def report() -> str:
    """Recorded Fano factors beside those of the fitted process and of a Poisson process."""
    lengths = {"prompt": TokenLengthSpec(median_tokens=1, sigma=0), "output": TokenLengthSpec(median_tokens=1, sigma=0)}
    ratio, decay_s = fit_hawkes()
    rate_rps = load_trace("azure-chat-2023").mean_rate_rps
    hawkes = HawkesStream(request_class="chat", rate_rps=rate_rps, branching_ratio=ratio, decay_s=decay_s, **lengths)
    poisson = PoissonStream(request_class="chat", rate_rps=rate_rps, **lengths)
    lines = [f"Hawkes: branching ratio {ratio:.3f}, decay {decay_s:.2f} s"]
    lines.append(f"{'window':>8} {'Azure':>8} {'law':>8} {'drawn (1 to 9 of 10)':>22} {'Poisson':>8}")
    drawn, memoryless = generated_fano_factors(hawkes, 40), generated_fano_factors(poisson, 10)
    for window_s, factor in recorded_fano_factors().items():
        law = hawkes_fano_factor(ratio, decay_s, window_s)
        low, middle, high = np.quantile(drawn[window_s], [0.1, 0.5, 0.9])
        between = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"{window_s:8g} {factor:8.2f} {law:8.2f} {between:>22} {memoryless[window_s].mean():8.2f}")
    week = ", ".join(f"{factor:.0f}" for factor in drawn_servegen_fano_factors(3.0, 4))
    lines.append(f"ServeGen at 3 requests/s, windows of 600 s: recorded {servegen_fano_factor(3.0):.0f}, drawn {week}")
    return "\n".join(lines)


def main() -> None:
    """Print the report."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(report())


if __name__ == "__main__":
    main()
