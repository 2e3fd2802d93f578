// How much the processor loads from memory at once. What is looked at together lies in one line.
#pragma once

#include <cstddef>

namespace tokenfleet {

inline constexpr std::size_t kCacheLineBytes = 64;

}  // namespace tokenfleet
