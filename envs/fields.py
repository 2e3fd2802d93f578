"""The one table of everything an engine reports: name, axis, unit, scale, meaning.

Buffers, observations, bounds and documentation are all laid out from it, so they cannot drift apart. An *axis* is a
string of letters of `AXES`; `""` is a scalar.
"""

from __future__ import annotations

from dataclasses import dataclass

AXES = {
    "N": "fleet",
    "H": "tick of an episode",
    "I": "tick of an episode, and its end",
    "E": "exogenous number of a view",
    "S": "site",
    "W": "row",
    "D": "power node (the grid connections of all sites, then all rows)",
    "R": "room",
    "B": "battery",
    "V": "solar site",
    "M": "site whose tariff charges for more than energy",
    "C": "site in a demand-response programme",
    "U": "site that regulates frequency",
    "X": "site whose spread of the price is forecast",
    "P": "pool",
    "p": "pool whose replicas can stand by",
    "v": "pool with a variant of its model",
    "k": "pool whose clock sensitivity changes",
    "J": "knot of tokens in an iteration",
    "K": "class",
    "Q": "class with a service agreement",
    "O": "class whose demand is forecast",
    "Z": "site, or row with events",
    "T": "class with a price to set",
    "Y": "step of an agreement's credit",
    "G": "region of clients",
    "L": "lead time",
    "F": "forecast",
    "i": "regime with an indicator",
    "s": "site that trains",
    "A": "entry of an action",
}
"""What an array has one of, by letter of its axes; `tokenfleet.envs.quantities` uses the same letters."""


@dataclass(frozen=True)
class Field:
    """One named block of numbers.

    Attributes:
        name: with its unit as a suffix where it has one.
        axis: letters of its dimensions, for example `"SL"`.
        unit: as a reader says it.
        doc: what it means, one sentence.
        scale: name of the scenario's scale that an observation divides by (see `envs.interface.scales`).
        high: upper bound after scaling.
        low: lower bound after scaling.
    """

    name: str
    axis: str
    unit: str
    doc: str
    scale: str = "one"
    high: float = 1.0
    low: float = 0.0


MEASUREMENTS: tuple[Field, ...] = (
    Field("waiting_requests", "P", "requests", "In the replicas' queues, not yet in a batch.", "batch", 10.0),
    Field("running_requests", "P", "requests", "In the replicas' batches, prefilling or decoding.", "batch", 1.0),
    Field(
        "unprefilled_tokens",
        "P",
        "tokens",
        "Prompt tokens of requests in the queue or in prefill, and a preempted one's answer so far.",
        "budget",
        100.0,
    ),
    Field(
        "kv_reserved_fraction",
        "P",
        "share",
        "Share of the pool's KV cache that running requests hold or have reserved.",
        "one",
        1.0,
    ),
    Field("cached_fraction", "P", "share", "Share of the pool's KV cache that holds prefixes.", "one", 1.0),
    Field("awake_replicas", "P", "replicas", "Replicas that take requests.", "replicas", 1.0),
    Field("waking_replicas", "P", "replicas", "Replicas that are loading.", "replicas", 1.0),
    Field("failed_replicas", "P", "replicas", "Replicas under repair.", "replicas", 1.0),
    Field("standby_replicas", "p", "replicas", "Replicas that stand by.", "standby_replicas", 1.0),
    Field("preparing_replicas", "p", "replicas", "Replicas that load to stand by.", "standby_replicas", 1.0),
    Field("variant_replicas", "v", "replicas", "Replicas that take requests for the variant.", "variant_replicas", 1.0),
    Field(
        "switching_replicas",
        "v",
        "replicas",
        "Replicas that finish what they have, and load the other model then.",
        "variant_replicas",
        1.0,
    ),
    Field("clock_fraction", "P", "share", "Clock in force during the tick, after the brake.", "one", 1.0),
    Field(
        "pool_power_w", "P", "W", "Mean IT power of the pool (boards and servers) in the tick.", "pool_nameplate_w", 1.0
    ),
    Field("generated_tokens", "P", "tokens", "Output tokens generated in the tick.", "batch_tokens", 10.0),
    Field("arrived", "K", "requests", "Requests that arrived in the tick.", "arrivals", 10.0),
    Field("held_requests", "K", "requests", "Deferrable requests held back.", "horizon_arrivals", 1.0),
    Field(
        "thinking_calls",
        "K",
        "requests",
        "Calls that come after a tool or think time now running.",
        "batch_of_class",
        1.0,
    ),
    Field("away_requests", "K", "requests", "Requests under way to a replica, or backing off.", "batch_of_class", 1.0),
    Field("retries", "K", "requests", "Failed attempts in the tick that will be tried again.", "arrivals", 10.0),
    Field("completed_in_slo", "K", "requests", "Completed in the tick within their SLO.", "arrivals", 10.0),
    Field("completed_late", "K", "requests", "Completed in the tick outside their SLO.", "arrivals", 10.0),
    Field("refused", "K", "requests", "Turned away in the tick.", "arrivals", 10.0),
    Field("expired", "K", "requests", "Whose patience or deadline ran out, found in the tick.", "arrivals", 10.0),
    Field(
        "ttft_mean_s", "K", "s", "Mean time to first token of first tokens in the tick; 0 without any.", "ttft_s", 10.0
    ),
    Field("site_power_w", "S", "W", "Metered grid power, mean over the meter's window.", "nameplate_w", 2.0),
    Field("power_over_cap", "S", "share", "Metered power over the cap of the coming tick.", "one", 2.0),
    Field("braked", "S", "0 or 1", "The power brake holds every clock of the site down.", "one", 1.0),
    Field(
        "brake_timer_s",
        "S",
        "s",
        "Time above the cap that the brake holds against the site; earned back slowly below it.",
        "brake_s",
        10.0,
    ),
    Field("dark_remaining_s", "S", "s", "Time until a tripped site may boot.", "restart_s", 1.0),
    Field("row_power_over_cap", "W", "share", "Metered IT power of the row over its cap.", "one", 2.0),
    Field("row_braked", "W", "0 or 1", "The power brake holds every clock of the row down.", "one", 1.0),
    Field(
        "row_brake_timer_s", "W", "s", "Time above the cap that the row's brake holds against it.", "row_brake_s", 10.0
    ),
    Field("row_dark_remaining_s", "W", "s", "Time until a tripped row may boot.", "row_restart_s", 1.0),
    Field("room_c", "R", "C", "Air at the inlets of the servers.", "temperature", 4.0, -2.0),
    Field("derated", "R", "0 or 1", "The room is too warm: every clock of the site is held down.", "one", 1.0),
    Field("battery_charge_fraction", "B", "share", "Energy in the battery over its capacity.", "one", 1.0),
    Field("battery_power_w", "B", "W", "Mean power of the battery, negative when it charges.", "battery_w", 1.0, -1.0),
    Field("solar_power_w", "V", "W", "Mean solar power that was used.", "solar_w", 1.0),
    Field("working_jobs", "s", "jobs", "Training jobs that make progress.", "jobs", 1.0),
    Field("unsaved_work_s", "s", "s", "Work of all training jobs since their last checkpoints.", "unsaved", 1.0),
    Field("peak_power_w", "M", "W", "Peak in force: the highest window so far, or the ratchet.", "charged_w", 2.0),
    Field("window_power_w", "M", "W", "Mean power of the metering window so far.", "charged_w", 2.0),
    Field("window_fraction", "M", "share", "Part of the metering window that has passed.", "one", 1.0),
    Field("baseline_w", "C", "W", "Power that a call's reduction is counted from.", "offering_w", 2.0),
    Field("delivered_w", "C", "W", "Reduction delivered in the tick, at most what is called.", "offering_w", 2.0),
    Field("regulation_base_w", "U", "W", "Power that regulation moves around.", "regulating_w", 2.0),
    Field(
        "regulation_response", "U", "share", "Power less base in the tick, over what is offered.", "one", 10.0, -10.0
    ),
    Field(
        "agreement_share", "Q", "share", "In time of the requests that ended in the window; 1 without any.", "one", 1.0
    ),
    Field("agreement_ended", "Q", "requests", "That ended in the agreement's window so far.", "window_arrivals", 10.0),
    Field("agreement_fraction", "Q", "share", "Part of the agreement's window that has passed.", "one", 1.0),
    Field("token_price_factor", "T", "share", "Token price in the tick, over the list price.", "one", 10.0),
    Field("declined", "T", "requests", "Calls whose clients found the price too high.", "priced_arrivals", 10.0),
)
"""What an engine measures, in the order in which it writes it (float32)."""

EXOGENOUS: tuple[Field, ...] = (
    Field("cap_w", "S", "W", "The cap of the coming tick.", "nameplate_w", 2.0),
    Field("announced_cap_w", "SL", "W", "The cap as announced for each lead time.", "nameplate_w", 2.0),
    Field("row_cap_w", "W", "W", "The cap of the coming tick on the row's IT power.", "row_nameplate_w", 2.0),
    Field("announced_row_cap_w", "WL", "W", "The same as announced for each lead time.", "row_nameplate_w", 2.0),
    Field("price_usd_per_mwh", "S", "USD/MWh", "Electricity price of the coming tick.", "price", 10.0, -5.0),
    Field("carbon_g_per_kwh", "S", "g/kWh", "Carbon intensity of the coming tick.", "carbon", 2.0),
    Field("price_forecast_usd_per_mwh", "SF", "USD/MWh", "Electricity price expected.", "price", 10.0, -5.0),
    Field("carbon_forecast_g_per_kwh", "SF", "g/kWh", "Carbon intensity expected.", "carbon", 2.0),
    Field("outdoor_forecast_c", "SF", "C", "Outdoor temperature expected.", "temperature", 2.0, -2.0),
    Field("solar_forecast_w", "SF", "W", "On-site solar power expected.", "nameplate_w", 2.0),
    Field("regime_indicator", "i", "", "The state to come, by its place, with noise.", "one", 8.0, -4.0),
    Field("called_w", "C", "W", "Reduction called in the coming tick.", "offering_w", 2.0),
    Field("call_phase", "C", "", "0 no call, 1 announced, 2 called, 3 in the time after one.", "call_phases", 1.0),
    Field("damages_usd_per_mwh", "C", "USD/MWh", "Damages for energy above the called cap.", "damages", 10.0),
    Field("activation_usd_per_mwh", "C", "USD/MWh", "Payment for delivered reduction.", "damages", 10.0),
    Field("regulation_signal", "U", "share", "Signal to follow in the coming tick.", "one", 1.0, -1.0),
    Field("price_spread_usd_per_mwh", "XF", "USD/MWh", "Standard deviation of the price expected.", "price", 10.0),
    Field("demand_forecast_rps", "OF", "requests/s", "Arrivals expected.", "arrival_rate", 10.0),
    Field(
        "demand_spread_rps", "OF", "requests/s", "Standard deviation of the arrivals expected.", "arrival_rate", 10.0
    ),
    Field("event_chance", "ZF", "share", "Chance that an event is in force.", "one", 1.0),
    Field("time_fraction", "", "share", "Part of the episode that has passed.", "one", 1.0),
)
"""What happens to a fleet whatever its policy does; written after the measurements."""

VIEW: tuple[Field, ...] = MEASUREMENTS + EXOGENOUS

OUTCOMES: tuple[Field, ...] = (
    Field("energy_j", "S", "J", "Energy from the grid, which is billed."),
    Field("facility_energy_j", "S", "J", "Energy that the facility consumed, PUE included."),
    Field("battery_charge_j", "S", "J", "Energy that the battery took from the busbar."),
    Field("battery_discharge_j", "S", "J", "Energy that the battery gave to the busbar."),
    Field("solar_j", "S", "J", "Solar energy that was used."),
    Field("training_energy_j", "s", "J", "IT energy of training jobs."),
    Field("training_work_s", "s", "s", "Work of training jobs, in time at full clock."),
    Field("training_lost_s", "s", "s", "Work of training jobs that was lost with their power."),
    Field("training_usd", "s", "USD", "Earned for the work of training jobs, less what was earned for lost work."),
    Field("delivered_tokens", "S", "tokens", "Output tokens of completed requests, by the site that served them."),
    Field("kv_sent_bytes", "S", "bytes", "KV cache that left for another site."),
    Field("power_w", "S", "W", "Metered grid power, mean over the meter's window."),
    Field("above_cap_s", "S", "s", "The tick, if the meter stood above the cap."),
    Field("over_cap_w", "S", "W", "How far the meter stood above the cap."),
    Field("brakes", "S", "events", "Power brakes that began."),
    Field("trips", "S", "events", "Breaker trips."),
    Field("derated_s", "S", "s", "The tick, if a warm room held the clocks down."),
    Field("demand_charge_usd", "M", "USD", "Charge that fell due because the highest window rose."),
    Field("ramp_charge_usd", "M", "USD", "Charge for power that changed faster than allowed."),
    Field("called_j", "C", "J", "Reduction that was called."),
    Field("delivered_j", "C", "J", "Reduction that was delivered, at most what was called."),
    Field("over_call_j", "C", "J", "Energy above the called cap."),
    Field("rebound_j", "C", "J", "Energy above baseline and tolerance in the time after a call."),
    Field("availability_usd", "C", "USD", "Paid for reduction on offer."),
    Field("activation_usd", "C", "USD", "Paid for reduction delivered."),
    Field("damages_usd", "C", "USD", "Owed for energy above the called cap."),
    Field("rebound_usd", "C", "USD", "Owed for rebound."),
    Field("unbraked_over_cap_w", "C", "W", "Of `over_cap_w`, what no brake holds and money alone forbids."),
    Field("regulation_usd", "U", "USD", "Paid for following the grid's signal."),
    Field("regulation_score", "U", "share", "How well the signal was followed, 0 to 1 in a tick."),
    Field("regulation_ticks", "U", "ticks", "Ticks that were scored."),
    Field("row_power_w", "W", "W", "Metered IT power of the row, mean over the meter's window."),
    Field("row_above_cap_s", "W", "s", "The tick, if the row's meter stood above its cap."),
    Field("row_over_cap_w", "W", "W", "How far the row's meter stood above its cap."),
    Field("row_brakes", "W", "events", "Power brakes of the row that began."),
    Field("row_trips", "W", "events", "Trips of the row's breaker."),
    Field("it_energy_j", "P", "J", "Energy of boards and servers."),
    Field("busy_energy_j", "P", "J", "Energy of boards while an iteration runs."),
    Field("idle_energy_j", "P", "J", "Energy of boards that are on, with nothing running."),
    Field("asleep_energy_j", "P", "J", "Energy of boards that are asleep or stand by."),
    Field("host_energy_j", "P", "J", "Energy of the servers around the boards."),
    Field("generated_tokens", "P", "tokens", "Output tokens generated."),
    Field("prefilled_tokens", "P", "tokens", "Prompt tokens computed, and tokens computed again after a preemption."),
    Field("prefix_hit_tokens", "P", "tokens", "Tokens found in prefix caches instead of computed."),
    Field("host_hit_tokens", "P", "tokens", "Of those, tokens that came back from host memory."),
    Field("migrated_tokens", "P", "tokens", "Of those found, tokens that came from another replica."),
    Field("handed_off_tokens", "P", "tokens", "Tokens of context that left for the pool that decodes them."),
    Field("taken_over_tokens", "P", "tokens", "Tokens of context that came from a pool that prefills, and run."),
    Field("preemptions", "P", "events", "Running sequences that had to give up their KV cache."),
    Field("preempted_tokens", "P", "tokens", "Tokens of context that preempted sequences had to give up."),
    Field("dropped_tokens", "P", "tokens", "Tokens of context that running sequences lost with their replica's power."),
    Field("running_tokens_change", "P", "tokens", "Tokens of context of running sequences, at the end less the start."),
    Field("switches", "v", "events", "Replicas that began to load the other model instead of the one that they had."),
    Field("variant_tokens", "v", "tokens", "Output tokens of completed requests that the variant answered."),
    Field("quality_loss_usd", "v", "USD", "What is paid less for answers of the variant than for the model's own."),
    Field("arrived", "K", "requests", "Requests that arrived; a retry does not count again."),
    Field("completed_in_slo", "K", "requests", "Completed within their SLO."),
    Field("completed_late", "K", "requests", "Completed outside their SLO."),
    Field(
        "refused",
        "K",
        "requests",
        "Turned away: admission, no pool, too long for the KV cache, a trip or a failed replica.",
    ),
    Field("expired", "K", "requests", "Whose patience or deadline ran out."),
    Field("declined", "K", "requests", "Whose clients found the token price too high."),
    Field("retries", "K", "requests", "Failed attempts that will be tried again."),
    Field("budget_ended", "K", "events", "Sessions that had spent their budget."),
    Field("prompt_tokens_asked", "K", "tokens", "Prompt tokens of `arrived`."),
    Field("output_tokens_asked", "K", "tokens", "Output tokens of `arrived` that were asked for."),
    Field("prompt_tokens_in_slo", "K", "tokens", "Prompt tokens of `completed_in_slo`."),
    Field("output_tokens_in_slo", "K", "tokens", "Output tokens of `completed_in_slo`."),
    Field("prompt_tokens_late", "K", "tokens", "Prompt tokens of `completed_late`."),
    Field("output_tokens_late", "K", "tokens", "Output tokens of `completed_late`."),
    Field("prompt_tokens_lost", "K", "tokens", "Prompt tokens of `refused` and `expired`."),
    Field("output_tokens_lost", "K", "tokens", "Output tokens of `refused` and `expired` that were asked for."),
    Field("prompt_tokens_declined", "K", "tokens", "Prompt tokens of `declined`."),
    Field("output_tokens_declined", "K", "tokens", "Output tokens of `declined` that were asked for."),
    Field("value_in_slo_usd", "K", "USD", "Price of `completed_in_slo` at the factors they were quoted."),
    Field("value_late_usd", "K", "USD", "Price of `completed_late`, before what being late takes off."),
    Field("value_lost_usd", "K", "USD", "Price of `refused` and `expired`, as if nothing of them had been cached."),
    Field("value_declined_usd", "K", "USD", "Price that the clients of `declined` did not accept."),
    Field(
        "overdue_usd",
        "K",
        "USD",
        "Price of requests under way that can no longer be within their SLO, as if nothing of them had been cached.",
    ),
    Field("overdue_change_usd", "K", "USD", "The same, at the end less the start; an episode ends with none."),
    Field("in_agreement", "Q", "requests", "Completed in time, as the class's agreement counts."),
    Field("credit_usd", "Q", "USD", "Given back because the class's agreement was missed in a window."),
    Field("first_tokens", "K", "requests", "Requests that got their first token."),
    Field("ttft_sum_s", "K", "s", "Sum of their times to first token."),
)
"""What happened in the tick (float64): the only input of reward, ledger and metrics."""
