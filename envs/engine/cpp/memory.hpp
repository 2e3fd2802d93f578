// Where things lie in memory, and loading them before they are needed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tokenfleet {

inline constexpr std::size_t kCacheLineBytes = 64;

// Begin to load the line of cache at `address`; nothing waits for it. Forced inline: GCC takes a function that does
// nothing but prefetch for one without effect, and drops its calls.
[[gnu::always_inline]] inline void prefetch(const void* address) { __builtin_prefetch(address); }

inline constexpr std::int64_t kPrefetchedCompletions = 5;

}  // namespace tokenfleet
