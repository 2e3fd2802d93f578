// Where things lie in memory, and loading them before they are needed.
//
// A batch of fleets touches far more memory than the nearest caches hold, and so does a day of sessions: whatever is
// asked for first is far away. GCC takes a function that does nothing but load ahead for one without effect and drops its
// calls, which is why all of these are forced inline.
#pragma once

#include <cstddef>
#include <vector>

namespace tokenfleet {

inline constexpr std::size_t kCacheLineBytes = 64;

// Begin to load the line of cache at `address`; nothing waits for it.
[[gnu::always_inline]] inline void bring_near(const void* address) { __builtin_prefetch(address); }

// Begin to load all of an object.
template <typename T>
[[gnu::always_inline]] inline void bring_all_near(const T& object) {
    const char* address = reinterpret_cast<const char*>(&object);
    for (std::size_t offset = 0; offset < sizeof(T); offset += kCacheLineBytes) bring_near(address + offset);
}

// Give a vector `count` elements, whatever they are: room for a few more, but not for twice as many, as resizing alone
// would when the next episode is a little longer than the last.
template <typename T>
void remake(std::vector<T>& vector, std::size_t count) {
    if (count > vector.capacity()) {
        vector = {};
        vector.reserve(count + count / 16);
    }
    vector.resize(count);
}

}  // namespace tokenfleet
