// A request that one pool has prefilled goes to the pool that decodes it: the C++ mirror of `Journeys.hand_off` in
// envs/engine/reference/journeys.py.
#pragma once

#include <cstdint>

#include "arrays.hpp"
#include "clients.hpp"
#include "demand.hpp"
#include "endings.hpp"
#include "kv_moves.hpp"

namespace tokenfleet {

class HandOffs {
public:
    HandOffs(const FleetArrays& arrays, Demand& demand, Clients& clients, Endings& endings, KvMoves& kv_moves)
        : arrays_(arrays), demand_(demand), clients_(clients), endings_(endings), kv_moves_(kv_moves) {}

    // Pool `p` has prefilled a request that another pool decodes: its KV cache goes there.
    void send(std::int32_t index, std::int64_t p, double now_s) {
        const std::int64_t q = arrays_.pools[p].hand_off_to;
        demand_.details[index].preferred_replica = -1;
        endings_.note_site(index, arrays_.pools[q].site);
        const double way_s = kv_moves_.send(p, q, demand_.requests[index].prompt_tokens);
        clients_.travel(index, static_cast<std::int32_t>(q), now_s + way_s);
    }

private:
    const FleetArrays& arrays_;
    Demand& demand_;
    Clients& clients_;
    Endings& endings_;
    KvMoves& kv_moves_;
};

}  // namespace tokenfleet
