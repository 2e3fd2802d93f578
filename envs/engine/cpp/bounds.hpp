// What the numbers that Python hands over may be: every control of a tick, and every series of an episode.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "arrays.hpp"
#include "columns.hpp"
#include "episode.hpp"
#include "python_arrays.hpp"

namespace tokenfleet {

// Places of the controls in the list that `Engine::step` takes.
enum ControlIndex : std::size_t {
#define TOKENFLEET_INDEX(name, length) k_##name,
    TOKENFLEET_CONTROLS(TOKENFLEET_INDEX)
#undef TOKENFLEET_INDEX
        kNumControls
};

// Places of the series that C++ reads of an episode.
enum SeriesIndex : std::size_t {
#define TOKENFLEET_INDEX(name, length) k_series_##name,
    TOKENFLEET_EPISODE_SERIES(TOKENFLEET_INDEX)
#undef TOKENFLEET_INDEX
        k_series_exogenous,
    kNumSeries
};

// What a control, or a number of a series, may be; both ends included.
struct Bounds {
    double low, high;

    // NaN lies outside of all bounds. Without a branch, and counted in the numbers' own width, so that the compiler takes
    // many of them at once.
    template <typename Number>
    bool hold(const Number* values, std::int64_t count) const {
        const auto lowest = static_cast<Number>(low), highest = static_cast<Number>(high);
        std::conditional_t<sizeof(Number) == 4, std::int32_t, std::int64_t> outside = 0;
        for (std::int64_t i = 0; i < count; ++i) {
            outside |= (values[i] >= lowest) & (values[i] <= highest) ? 0 : 1;
        }
        return outside == 0;
    }
};

template <std::size_t count>
std::array<Bounds, count> read_bounds(const Array<const double>& pairs) {
    std::array<Bounds, count> bounds;
    for (std::size_t i = 0; i < count; ++i) bounds[i] = {pairs.data()[2 * i], pairs.data()[2 * i + 1]};
    return bounds;
}

// Whether every series of an episode lies within its bounds.
inline bool hold_all(const std::array<Bounds, kNumSeries>& bounds, const FleetArrays& arrays, const EpisodeColumns& e) {
    const std::int64_t ticks = arrays.horizon_ticks, sites = arrays.num_sites(), rows = arrays.num_rows(),
                       pools = arrays.num_pools(), variants = arrays.num_variants(),
                       unsteady_pools = arrays.num_unsteady_pools(), programmes = arrays.num_programmes(),
                       regulators = arrays.num_regulators(),
                       exogenous_width = arrays.view.width - arrays.view.exogenous;
#define TOKENFLEET_HOLD(name, length) bounds[k_series_##name].hold(e.name, length)&&
    return TOKENFLEET_EPISODE_SERIES(TOKENFLEET_HOLD) TOKENFLEET_HOLD(exogenous, (ticks + 1) * exogenous_width) true;
#undef TOKENFLEET_HOLD
}

}  // namespace tokenfleet
