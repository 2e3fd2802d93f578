// The law of an iteration: the C++ mirror of envs/layers/llm/coefficients.py and iteration.py, and of what they take of
// envs/layers/gpu/.
//
// Same names and same order of operations, so that both give an iteration the same time and work, to the last bit.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

// What an iteration works on.
struct Batch {
    std::int64_t decoding, prefill;
    double context, pairs;  // what windowed layers see of them included
    double growth;          // of the context, by every iteration that only decodes

    std::int64_t tokens() const { return decoding + prefill; }
};

inline double clock_stretch(double clock_fraction, double memory_fraction) {
    return memory_fraction + (1.0 - memory_fraction) / clock_fraction;
}

inline double memory_fraction_under(double memory_fraction, double clock_sensitivity_factor) {
    return std::max(memory_fraction + (1.0 - clock_sensitivity_factor) * (1.0 - memory_fraction), 0.0);
}

inline double voltage_fraction(double clock_fraction, double voltage_floor_fraction) {
    return std::max(clock_fraction, voltage_floor_fraction);
}

inline double busy_floor_w(const Pool& pool, double clock_fraction) {
    const double voltage = voltage_fraction(clock_fraction, pool.voltage_floor_fraction);
    return pool.static_w + pool.floor_w * clock_fraction * (voltage * voltage);
}

inline double byte_energy_scale(double core_fraction, double voltage) {
    return 1.0 - core_fraction * (1.0 - voltage * voltage);
}

// What boards draw at one clock: the lesser of two pieces, each affine in time and work, as long as that does not exceed
// the limit; a segment sums the pieces, so they stand here one by one: work that shows, and along the shoulder.
struct Draw {
    double busy_w, shoulder_w, shoulder_slope, limit_w;

    static Draw at_clock(const Pool& pool, double clock_fraction) {
        const double busy_w = busy_floor_w(pool, clock_fraction);
        return {
            .busy_w = busy_w,
            .shoulder_w = busy_w + pool.knee_fraction * (1.0 - pool.shoulder_slope) * (pool.limit_w - busy_w),
            .shoulder_slope = pool.shoulder_slope,
            .limit_w = pool.limit_w,
        };
    }

    bool exceeds_limit(double time_s, double work_j) const {
        return shoulder_w * time_s + shoulder_slope * work_j > limit_w * time_s;
    }

    std::array<double, 2> pieces_j(double time_s, double work_j) const {
        return {busy_w * time_s + work_j, shoulder_w * time_s + shoulder_slope * work_j};
    }
};

inline constexpr double kLeastSlope = 1e-9;

// What boards' limit leaves for work along the shoulder, with boards that draw nothing for their clock, and what they draw
// of it for their clock.
struct Headroom {
    double left_w, floor_w;

    static Headroom of(const Pool& pool) {
        const double slope = std::max(pool.shoulder_slope, kLeastSlope);
        const double share = (1.0 - pool.knee_fraction * (1.0 - pool.shoulder_slope)) / slope;
        return {.left_w = share * (pool.limit_w - pool.static_w), .floor_w = share * pool.floor_w};
    }
};

// Coefficients of time and work: at a clock, or of the part of them that follows the clock or does not.
struct Part {
    double host_s, decode_s, context_s, mixed_context_s, prefill_attention_s;
    double context_j, token_j, attention_j;
    Knots token_s, work_j;
};

// A pool's coefficients at the clock asked for, what boards draw there, and what a slower one would change.
struct Physics {
    Part asked;
    Draw draw;
    Headroom headroom;
    double clock_fraction;
    Part core, full;  // what follows the core (see `Coefficients.core`), and all of it, at full clock
};

inline Part at_clock(const Pool& pool, double decode_memory_fraction, double clock_fraction) {
    const double decode = clock_stretch(clock_fraction, decode_memory_fraction);
    const double prefill = clock_stretch(clock_fraction, pool.prefill_memory_fraction);
    const double voltage = voltage_fraction(clock_fraction, pool.voltage_floor_fraction);
    Part part{
        .host_s = pool.host_s,
        .decode_s = pool.decode_s * decode,
        .context_s = pool.context_s * decode,
        .mixed_context_s = pool.mixed_context_s * decode,
        .prefill_attention_s = pool.prefill_attention_s * prefill,
        .context_j = pool.context_j * byte_energy_scale(pool.core_context_fraction, voltage),
        .token_j = pool.token_j * (voltage * voltage),
        .attention_j = pool.attention_j * (voltage * voltage),
        .token_s = {},
        .work_j = {},
    };
    for (int j = 0; j < kTokenKnots; ++j) {
        part.token_s[j] = pool.token_s[j] * (prefill + (decode - prefill) * pool.token_memory_share[j]);
        part.work_j[j] = pool.work_j[j] * byte_energy_scale(pool.core_byte_fraction, voltage);
    }
    return part;
}

inline Part core_part(const Pool& pool, double decode_memory_fraction) {
    const double decode = decode_memory_fraction, prefill = pool.prefill_memory_fraction;
    Part part{
        .host_s = 0.0,
        .decode_s = pool.decode_s * (1.0 - decode),
        .context_s = pool.context_s * (1.0 - decode),
        .mixed_context_s = pool.mixed_context_s * (1.0 - decode),
        .prefill_attention_s = pool.prefill_attention_s * (1.0 - prefill),
        .context_j = pool.context_j * pool.core_context_fraction,
        .token_j = pool.token_j,
        .attention_j = pool.attention_j,
        .token_s = {},
        .work_j = {},
    };
    for (int j = 0; j < kTokenKnots; ++j) {
        const double share = prefill + (decode - prefill) * pool.token_memory_share[j];
        part.token_s[j] = pool.token_s[j] * (1.0 - share);
        part.work_j[j] = pool.work_j[j] * pool.core_byte_fraction;
    }
    return part;
}

// Another clock is asked for, at the same share of decode time that it does not scale.
inline void ask_for_clock(Physics& physics, const Pool& pool, double decode_memory_fraction, double clock_fraction) {
    physics.asked = at_clock(pool, decode_memory_fraction, clock_fraction);
    physics.draw = Draw::at_clock(pool, clock_fraction);
    physics.clock_fraction = clock_fraction;
}

inline Physics physics_at(const Pool& pool, double decode_memory_fraction, double clock_fraction) {
    Physics physics{};
    ask_for_clock(physics, pool, decode_memory_fraction, clock_fraction);
    physics.headroom = Headroom::of(pool);
    physics.core = core_part(pool, decode_memory_fraction);
    physics.full = at_clock(pool, decode_memory_fraction, 1.0);
    return physics;
}

// Another clock is asked for, or another share of decode time is not scaled by it, or both.
inline void change_clock(Physics& physics, const Pool& pool, double decode_memory_fraction, double clock_fraction,
                         bool is_other_share) {
    if (is_other_share) {
        physics = physics_at(pool, decode_memory_fraction, clock_fraction);
    } else {
        ask_for_clock(physics, pool, decode_memory_fraction, clock_fraction);
    }
}

// A quantity that is given at the knots 1, 2, 4 ..., at `tokens` >= 1; the last piece goes on beyond the last knot.
inline double at_tokens(const Knots& values, std::int64_t tokens) {
    // 1 over each knot: exact, as are products with it.
    static constexpr Knots kInverse = [] {
        Knots inverse{};
        for (int j = 0; j < kTokenKnots; ++j) inverse[j] = 1.0 / static_cast<double>(std::int64_t{1} << j);
        return inverse;
    }();
    const int piece =
        std::min(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(tokens))) - 1, kTokenKnots - 2);
    const double along = static_cast<double>(tokens) * kInverse[piece] - 1.0;
    return values[piece] + (values[piece + 1] - values[piece]) * along;
}

inline std::int64_t prefill_pairs(std::int64_t chunk_tokens, std::int64_t prior_tokens = 0) {
    return chunk_tokens * prior_tokens + chunk_tokens * (chunk_tokens + 1) / 2;
}

// The same in a layer with a sliding window.
inline std::int64_t window_pairs(std::int64_t window_tokens, std::int64_t chunk_tokens, std::int64_t prior_tokens) {
    const std::int64_t before = std::clamp<std::int64_t>(window_tokens - prior_tokens, 0, chunk_tokens);
    return prefill_pairs(before, prior_tokens) + (chunk_tokens - before) * window_tokens;
}

inline double context_token_s(const Part& part, std::int64_t prefill) {
    return prefill > 0 ? part.context_s + part.mixed_context_s : part.context_s;
}

inline double unlimited_time_s(const Part& part, const Batch& batch) {
    const double decode_s = part.decode_s * static_cast<double>(batch.decoding);
    const double context_s = context_token_s(part, batch.prefill) * batch.context;
    const double attention_s = part.prefill_attention_s * batch.pairs;
    return (part.host_s + at_tokens(part.token_s, batch.tokens()) + decode_s) + (attention_s + context_s);
}

inline double iteration_work_j(const Part& part, const Batch& batch) {
    const double arithmetic_j = part.token_j * static_cast<double>(batch.tokens());
    const double context_j = part.context_j * batch.context;
    const double attention_j = part.attention_j * batch.pairs;
    return (at_tokens(part.work_j, batch.tokens()) + arithmetic_j) + (attention_j + context_j);
}

}  // namespace tokenfleet
