"""Draw the shipped data for docs/data.md: `python tools/data_figures.py docs/images`.

Four pictures: a day of price, carbon intensity and weather; how the weeks of a year are dealt to the splits; one
episode with its real-time price and forecasts; the round-trip times.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tokenfleet.envs.catalog import load_rtt, load_series
from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.fields import EXOGENOUS
from tokenfleet.envs.layers.power.series import Split, split_blocks
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.evaluation.style import BLUE, GREEN, MUTED, ORANGE, PALETTE, house_style, new_figure

DPI = 100
UTC_OFFSET_H = {"caiso": -8, "pjm": -5, "nyiso": -5, "ercot": -6, "de-lu": 1, "miso": -6}
UTC_OFFSET_H |= {"dallas": -6, "leesburg-va": -5, "phoenix": -7, "san-jose": -8}
DAYS = (
    ("Price, median day of 2023", "USD/MWh", "price_usd_per_mwh", "2023-price"),
    ("Carbon intensity, median day of 2022", "g CO2/kWh", "carbon_g_per_kwh", "2022-carbon"),
    ("Temperature, mean day of July", "C", "dry_bulb_c", "weather"),
    ("Sun on level ground, mean day", "W/m2", "global_horizontal_w_m2", "weather"),
)
SPLIT_COLOUR: dict[Split, str] = {"train": BLUE, "validation": ORANGE, "test": GREEN}
JULY = slice(181, 212)
SPEEDUP = 144.0
LEADS_S = (0.0, 25.0, 150.0)


def main() -> None:
    """Write every picture."""
    folder = typed_path(__doc__, "the folder of the pictures")
    with house_style():
        for name, draw in (("days", _days), ("splits", _splits), ("episode", _episode), ("rtt", _rtt)):
            draw().savefig(folder / f"data-{name}.png", dpi=DPI)


def _local_days(place: str, suffix: str, column: str) -> NDArray[np.float64]:
    """Hours of local standard time, `[365, 24]`."""
    hour = np.arange(8760, dtype=np.float64) + 0.5 - UTC_OFFSET_H[place]
    return load_series(f"{place}-{suffix}").at(column, hour).reshape(365, 24)


def _days() -> Figure:
    places = {
        "2023-price": ("caiso", "pjm", "nyiso", "ercot", "de-lu"),
        "2022-carbon": ("caiso", "pjm", "ercot", "miso"),
        "weather": ("dallas", "leesburg-va", "phoenix", "san-jose"),
    }
    figure, axes = new_figure(2, 2, 9.0, 5.6)
    for ax, (title, unit, column, suffix) in zip(axes.ravel(), DAYS, strict=True):
        for place, colour in zip(places[suffix], PALETTE, strict=False):
            days = _local_days(place, suffix, column)
            typical = days[JULY].mean(axis=0) if column == "dry_bulb_c" else days.mean(axis=0)
            typical = np.median(days, axis=0) if "median" in title else typical
            ax.plot(np.arange(24) + 0.5, typical, color=colour, label=place)
        ax.set(title=title, ylabel=unit, xlim=(0, 24), xticks=range(0, 25, 6))
        ax.legend(fontsize=8, ncols=2, loc="upper left")
        ax.set_ylim(top=ax.get_ylim()[0] + 1.35 * np.ptp(ax.get_ylim()))
    for ax in axes[1]:
        ax.set_xlabel("hour of local standard time")
    return figure


def _splits() -> Figure:
    figure, axes = new_figure(1, 1, 9.0, 2.4)
    ax = axes[0, 0]
    price = load_series("ercot-2023-price").columns["price_usd_per_mwh"].reshape(365, 24).mean(axis=1)
    ax.plot(np.arange(365) + 0.5, price, color=MUTED, linewidth=1.0)
    for split, colour in SPLIT_COLOUR.items():
        for begin, end in split_blocks(split):
            ax.axvspan(begin / 24, end / 24, color=colour, alpha=0.25, linewidth=0)
        ax.plot([], [], color=colour, alpha=0.4, linewidth=8, label=split)
    ax.set(title="Weeks of the year by split, over the daily price of ERCOT", xlim=(0, 365), yscale="log")
    ax.set(xlabel="day of the year", ylabel="USD/MWh")
    ax.legend(ncols=3, loc="upper left")
    return figure


def _scenario() -> Scenario:
    weather = {"series": "san-jose-weather"}
    west = {
        "grid.price_usd_per_mwh": {"series": "caiso-2023-price"},
        "grid.real_time_price": {},
        "grid.carbon_g_per_kwh": {"series": "caiso-2022-carbon"},
        "facility.outdoor_c": weather,
        "solar": {"peak_w": 5000.0, "irradiance_w_per_m2": weather},
    }
    changes = {f"sites.west.{key}": value for key, value in west.items()}
    return load_scenario("default", {**changes, "calendar.speedup": SPEEDUP, "forecast_lead_s": list(LEADS_S)})


def _episode() -> Figure:
    scenario = _scenario()
    episode = sample_episode(scenario, 7)
    seen = Record(Layout(EXOGENOUS, axis_sizes(scenario)), episode.exogenous)
    parts = (
        ("Price", "USD/MWh", "price_forecast_usd_per_mwh"),
        ("Carbon intensity", "g/kWh", "carbon_forecast_g_per_kwh"),
        ("Outdoor temperature", "C", "outdoor_forecast_c"),
        ("On-site solar, 5 kW", "W", "solar_forecast_w"),
    )
    figure, axes = new_figure(2, 2, 9.0, 5.0, sharex=True)
    time_s = np.arange(scenario.horizon_ticks + 1) * scenario.tick_s
    for ax, (title, unit, field) in zip(axes.ravel(), parts, strict=True):
        for lead, colour in zip(range(len(LEADS_S)), (MUTED, BLUE, ORANGE), strict=True):
            ahead_h = LEADS_S[lead] * SPEEDUP / 3600
            label = f"said {ahead_h:g} h before" if lead else "what came"
            ax.plot(time_s + LEADS_S[lead], seen[field][:, 1, lead], color=colour, label=label)
        ax.set(title=title, ylabel=unit, xlim=(0, time_s[-1]))
    axes[0, 0].legend(fontsize=8)
    for ax in axes[1]:
        ax.set_xlabel("second of the episode (a day in ten minutes)")
    return figure


def _rtt() -> Figure:
    matrix = load_rtt("skyplane-2022")
    rtt_ms = 1e3 * np.fmin(matrix.rtt_s, matrix.rtt_s.T)
    figure, axes = new_figure(1, 2, 9.0, 4.0, width_ratios=(1.1, 1.0))
    order = np.argsort(np.nan_to_num(rtt_ms[:, matrix.places.index("aws:us-east-1")]), kind="stable")
    image = axes[0, 0].imshow(rtt_ms[np.ix_(order, order)], cmap="viridis")
    axes[0, 0].set(title="Round trips between 69 places", xticks=[], yticks=[])
    axes[0, 0].set_xlabel("ordered by distance from aws:us-east-1")
    axes[0, 0].grid(False)
    figure.colorbar(image, ax=axes[0, 0], label="ms", shrink=0.9)
    for place, colour in zip(("aws:us-east-1", "azure:northeurope", "gcp:asia-southeast1-a"), PALETTE, strict=False):
        others = np.sort(rtt_ms[matrix.places.index(place)])[:-1]
        axes[0, 1].plot(others, np.arange(1, len(others) + 1), color=colour, label=place)
    axes[0, 1].set(title="How many places lie within a round trip", xlabel="ms", ylabel="places", ylim=(0, 68))
    axes[0, 1].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
