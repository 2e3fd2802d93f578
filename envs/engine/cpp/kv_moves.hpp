// KV cache that moves between replicas: the C++ mirror of envs/engine/reference/kv_moves.py.
#pragma once

#include <cstdint>

#include "physics.hpp"

namespace tokenfleet {

class KvMoves {
public:
    KvMoves(const FleetArrays& arrays, const Outcome& outcome) : arrays_(arrays), outcome_(outcome) {}

    // Until `tokens` of context have come from a replica of one pool to one of another.
    double time_s(std::int64_t sender, std::int64_t receiver, std::int64_t tokens) const {
        const std::int64_t i = sender * arrays_.num_pools() + receiver;
        return arrays_.kv_latency_s[i] + static_cast<double>(tokens) * arrays_.kv_token_s[i];
    }

    // Whether the receiver, at full clock and with nothing else to do, would take longer to compute them.
    bool beats_computing(std::int64_t sender, std::int64_t receiver, std::int64_t tokens) const {
        const Pool& pool = arrays_.pools[receiver];
        const auto pairs = static_cast<double>(prefill_pairs(tokens));
        const double compute_s = static_cast<double>(tokens) * pool.prompt_token_s + pairs * pool.prefill_attention_s;
        return time_s(sender, receiver, tokens) < compute_s;
    }

    // Send `tokens` of context; returns how long it takes.
    double send(std::int64_t sender, std::int64_t receiver, std::int64_t tokens) {
        const Pool& from = arrays_.pools[sender];
        if (from.site != arrays_.pools[receiver].site) {
            outcome_(Outcome::kv_sent_bytes, from.site) += static_cast<double>(tokens) * from.kv_bytes_per_token;
        }
        return time_s(sender, receiver, tokens);
    }

private:
    const FleetArrays& arrays_;
    const Outcome& outcome_;
};

}  // namespace tokenfleet
