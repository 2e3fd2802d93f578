// What an engine measures and reports, by the names of envs/fields.py: one line a field.
#pragma once

#define TOKENFLEET_VIEW_FIELDS(X) \
    X(waiting_requests) \
    X(running_requests) \
    X(unprefilled_tokens) \
    X(kv_reserved_fraction) \
    X(cached_fraction) \
    X(awake_replicas) \
    X(waking_replicas) \
    X(failed_replicas) \
    X(clock_fraction) \
    X(pool_power_w) \
    X(generated_tokens) \
    X(arrived) \
    X(held_requests) \
    X(thinking_calls) \
    X(away_requests) \
    X(retries) \
    X(completed_in_slo) \
    X(completed_late) \
    X(refused) \
    X(expired) \
    X(ttft_mean_s) \
    X(site_power_w) \
    X(power_over_cap) \
    X(braked) \
    X(over_cap_s) \
    X(dark_remaining_s) \
    X(row_power_over_cap) \
    X(row_braked) \
    X(row_over_cap_s) \
    X(row_dark_remaining_s) \
    X(battery_charge_fraction) \
    X(battery_power_w) \
    X(solar_power_w)

#define TOKENFLEET_OUTCOME_FIELDS(X) \
    X(energy_j) \
    X(facility_energy_j) \
    X(battery_charge_j) \
    X(battery_discharge_j) \
    X(solar_j) \
    X(power_w) \
    X(above_cap_s) \
    X(over_cap_w) \
    X(brakes) \
    X(trips) \
    X(row_power_w) \
    X(row_above_cap_s) \
    X(row_over_cap_w) \
    X(row_brakes) \
    X(row_trips) \
    X(it_energy_j) \
    X(generated_tokens) \
    X(prefilled_tokens) \
    X(prefix_hit_tokens) \
    X(preemptions) \
    X(arrived) \
    X(completed_in_slo) \
    X(completed_late) \
    X(refused) \
    X(expired) \
    X(retries) \
    X(prompt_tokens_in_slo) \
    X(output_tokens_in_slo) \
    X(prompt_tokens_late) \
    X(output_tokens_late) \
    X(prompt_tokens_lost) \
    X(output_tokens_lost) \
    X(first_tokens) \
    X(ttft_sum_s)
