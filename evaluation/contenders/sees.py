"""The fields that each shipped policy sees, as it and its rules declare them."""

from __future__ import annotations

from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

SIGHTS: dict[str, tuple[str, ...]] = {
    "caps": ("cap_w", "row_cap_w"),
    "announced caps": ("announced_cap_w", "announced_row_cap_w"),
    "meters": ("site_power_w", "power_over_cap", "row_power_over_cap", "pool_power_w"),
    "brakes, trips": (
        "braked",
        "brake_timer_s",
        "dark_remaining_s",
        "row_braked",
        "row_brake_timer_s",
        "row_dark_remaining_s",
    ),
    "queues": (
        "waiting_requests",
        "running_requests",
        "unprefilled_tokens",
        "held_requests",
        "away_requests",
        "thinking_calls",
    ),
    "arrivals": ("arrived", "retries"),
    "KV cache": ("kv_reserved_fraction", "cached_fraction"),
    "latency, tokens": (
        "ttft_mean_s",
        "generated_tokens",
        "completed_in_slo",
        "completed_late",
        "refused",
        "expired",
    ),
    "replicas, clocks": (
        *("awake_replicas", "waking_replicas", "failed_replicas", "clock_fraction"),
        *("variant_replicas", "switching_replicas"),
    ),
    "rooms": ("room_c", "derated", "outdoor_forecast_c"),
    "batteries, sun": ("battery_charge_fraction", "battery_power_w", "solar_power_w", "solar_forecast_w"),
    "energy prices": (
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "carbon_g_per_kwh",
        "carbon_forecast_g_per_kwh",
    ),
    "token prices": ("token_price_factor", "declined"),
    "services, training": (
        "standby_replicas",
        "preparing_replicas",
        "working_jobs",
        "unsaved_work_s",
        "peak_power_w",
        "window_power_w",
        "window_fraction",
        "baseline_w",
        "delivered_w",
        "regulation_base_w",
        "regulation_response",
        "agreement_share",
        "agreement_ended",
        "agreement_fraction",
        "regime_indicator",
        "called_w",
        "call_phase",
        "damages_usd_per_mwh",
        "activation_usd_per_mwh",
        "regulation_signal",
        "price_spread_usd_per_mwh",
        "demand_forecast_rps",
        "demand_spread_rps",
        "event_chance",
    ),
    "time": ("time_fraction",),
}
"""Fields of a view by what a reader would call them."""


def reads(name: str, scenario: str = "default") -> frozenset[str]:
    """Fields of the view that a shipped policy reads; empty if there are none."""
    env = FleetVectorEnv(scenario, 1)
    policy = make_policy(name, PolicyContext.from_env(env))
    env.close()
    return getattr(policy, "reads", frozenset())


def sights(fields: frozenset[str]) -> list[str]:
    """What some fields are called, in the order of `SIGHTS`."""
    return [sight for sight, members in SIGHTS.items() if fields & set(members)]


def knows_caps(fields: frozenset[str]) -> bool:
    """Whether a policy that reads these fields can keep a cap."""
    return bool(fields & {*SIGHTS["caps"], *SIGHTS["announced caps"], "power_over_cap", "row_power_over_cap"})
