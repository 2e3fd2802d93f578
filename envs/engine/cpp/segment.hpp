// Closed forms over a run of iterations with an unchanged batch.
//
// Iteration i of a segment lasts time0 + i*time_step and, until the power limit binds, takes energy0 + i*energy_step:
// both are affine in i because the context grows by one token per sequence and iteration. Sums over i, the iteration
// that is running at a given time, and the energy up to that time therefore need no loop.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

// A pool's coefficients at one clock.
struct Physics {
    double fixed_s, decode_s, context_s, prefill_s, prefill_attention_s;
    double busy_w, weight_j, context_j, token_j, attention_j, limit_w;
};

inline double clock_scaling(double memory_fraction, double clock_fraction) {
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction;
}

inline Physics physics_at(const Pool& pool, double decode_memory_fraction, double clock) {
    const double decode = clock_scaling(decode_memory_fraction, clock);
    const double prefill = clock_scaling(pool.prefill_memory_fraction, clock);
    const double voltage = std::max(clock, pool.voltage_floor_fraction);
    return {
        .fixed_s = pool.t0_s * decode,
        .decode_s = pool.decode_s * decode,
        .context_s = pool.context_s * decode,
        .prefill_s = pool.prefill_s * prefill,
        .prefill_attention_s = pool.prefill_attention_s * prefill,
        .busy_w = pool.static_w + pool.floor_w * clock * (voltage * voltage),
        .weight_j = pool.weight_j,
        .context_j = pool.context_j,
        .token_j = pool.token_j * (voltage * voltage),
        .attention_j = pool.attention_j * (voltage * voltage),
        .limit_w = pool.limit_w,
    };
}

class Segment {
public:
    double start_s = 0.0;
    std::int64_t planned = 0;  // iterations until the batch changes

    void begin(double now_s, const Physics& p, std::int64_t decoding, std::int64_t context, std::int64_t prefill,
               std::int64_t pairs, std::int64_t iterations) {
        const double b = static_cast<double>(decoding), c = static_cast<double>(context);
        const double tokens = static_cast<double>(prefill), a = static_cast<double>(pairs);
        start_s = now_s;
        planned = iterations;
        time0_ = (p.fixed_s + p.decode_s * b + p.prefill_s * tokens) + (p.prefill_attention_s * a + p.context_s * c);
        time_step_ = p.context_s * b;
        energy0_ = p.busy_w * time0_ + ((p.weight_j + p.token_j * (b + tokens)) + (p.attention_j * a + p.context_j * c));
        energy_step_ = p.busy_w * time_step_ + p.context_j * b;
        limit0_ = p.limit_w * time0_;
        limit_step_ = p.limit_w * time_step_;
        metered_j_ = 0.0;
        counted_ = 0;
    }

    double end_s() const { return start_s + time_of(planned); }

    // Iterations that have ended at or before now_s, at most `planned`.
    std::int64_t ended_by(double now_s) const {
        const double elapsed_s = now_s - start_s;
        std::int64_t n = guess(elapsed_s);
        while (n < planned && time_of(n + 1) <= elapsed_s) ++n;
        while (n > 0 && time_of(n) > elapsed_s) --n;
        return n;
    }

    // Energy since the last call up to now_s, given that `ended` iterations have ended by then.
    double meter(double now_s, std::int64_t ended) {
        double total_j = energy_of(ended);
        if (ended < planned) {
            const double i = static_cast<double>(ended);
            const double time_s = time0_ + i * time_step_;
            const double iteration_j = std::min(energy0_ + i * energy_step_, limit0_ + i * limit_step_);
            total_j += iteration_j / time_s * ((now_s - start_s) - time_of(ended));
        }
        return take(total_j);
    }

    // Energy since the last call up to the end of the segment.
    double meter_all() { return take(energy_of(planned)); }

    // Iterations since the last call.
    std::int64_t count(std::int64_t ended) {
        const std::int64_t fresh = ended - counted_;
        counted_ = ended;
        return fresh;
    }

private:
    double time0_ = 0.0, time_step_ = 0.0, energy0_ = 0.0, energy_step_ = 0.0, limit0_ = 0.0, limit_step_ = 0.0;
    double metered_j_ = 0.0;
    std::int64_t counted_ = 0;

    static double affine_sum(double first, double step, double n) { return n * first + step * (0.5 * n * (n - 1.0)); }

    double time_of(std::int64_t n) const { return affine_sum(time0_, time_step_, static_cast<double>(n)); }

    // Root of n*time0 + time_step*n*(n-1)/2 = elapsed, off by at most one through rounding.
    std::int64_t guess(double elapsed_s) const {
        if (elapsed_s <= 0.0) return 0;
        const double b = time0_ - 0.5 * time_step_;
        const double n = 2.0 * elapsed_s / (b + std::sqrt(b * b + 2.0 * time_step_ * elapsed_s));
        return std::min(planned, static_cast<std::int64_t>(n));
    }

    // Sum over the first n iterations of min(unlimited, limited); the two lines cross at most once.
    double energy_of(std::int64_t n) const {
        if (n <= 0) return 0.0;
        const double last = static_cast<double>(n - 1), count = static_cast<double>(n);
        const bool limited_first = energy0_ > limit0_;
        const bool limited_last = energy0_ + last * energy_step_ > limit0_ + last * limit_step_;
        if (limited_first == limited_last) {
            return limited_first ? affine_sum(limit0_, limit_step_, count) : affine_sum(energy0_, energy_step_, count);
        }
        const double crossing = (limit0_ - energy0_) / (energy_step_ - limit_step_);
        const double before = std::clamp(std::floor(crossing) + 1.0, 1.0, last);
        const double free_all = affine_sum(energy0_, energy_step_, count);
        const double free_part = affine_sum(energy0_, energy_step_, before);
        const double limited_all = affine_sum(limit0_, limit_step_, count);
        const double limited_part = affine_sum(limit0_, limit_step_, before);
        return limited_first ? limited_part + (free_all - free_part) : free_part + (limited_all - limited_part);
    }

    double take(double total_j) {
        const double fresh_j = total_j - metered_j_;
        metered_j_ = total_j;
        return fresh_j;
    }
};

}  // namespace tokenfleet
