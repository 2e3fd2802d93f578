// Time as what has passed since another: the C++ mirror of envs/engine/reference/stopwatch.py.
#pragma once

namespace tokenfleet {

// Added and taken away again, it rounds what has passed to 2^-40 s.
inline constexpr double kTellingS = 1.5 * (1 << 12);

struct Stopwatch {
    double begin_s = 0.0, elapsed_s = 0.0;
    double rest_s = 0.0;  // what `elapsed_s`, a rounded sum, lacks

    double now_s() const { return begin_s + (((elapsed_s + rest_s) + kTellingS) - kTellingS); }

    // What has passed since this time, before the time is rounded.
    double passed_s(double until_s) const { return ((until_s - begin_s) - elapsed_s) - rest_s; }

    Stopwatch after(double length_s) const {
        const double sum_s = elapsed_s + length_s, added_s = sum_s - elapsed_s;
        const double lost_s = (elapsed_s - (sum_s - added_s)) + (length_s - added_s);  // Knuth's two-sum
        return {begin_s, sum_s, rest_s + lost_s};
    }
};

}  // namespace tokenfleet
