// When two times, or two amounts of credit, count as equal: the C++ mirror of envs/engine/ties.py.
#pragma once

#include <algorithm>

namespace tokenfleet {

// Times that lie no further apart are equal [s].
inline constexpr double kTieS = 1e-7;

// Whether a limit in time is exceeded.
inline bool exceeds(double elapsed_s, double limit_s) { return elapsed_s > limit_s + kTieS; }

// What may lack of a request's credit where `rate_rps` flow into a bucket one second (or one request) deep.
inline double credit_tie(double rate_rps) { return kTieS * std::max(1.0, rate_rps); }

}  // namespace tokenfleet
