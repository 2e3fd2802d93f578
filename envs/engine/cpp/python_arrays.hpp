// Reading arrays, and what they make up, from Python objects by the names of their attributes.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "episode.hpp"

namespace tokenfleet {

namespace nb = nanobind;

template <typename T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

// Columns of a Python object, by attribute name.
class Columns {
public:
    explicit Columns(nb::handle object) : object_(nb::borrow(object)) {}

    template <typename T>
    Array<const T> column(const char* name) const {
        return nb::cast<Array<const T>>(object_.attr(name));
    }
    nb::object part(const char* name) const { return object_.attr(name); }
    std::size_t size(const char* name) const { return column<double>(name).size(); }

private:
    nb::object object_;
};

// Entry i of a column, as the field's type says.
template <typename Number>
void read(const Columns& c, const char* name, std::size_t i, Number& value) {
    value = c.column<Number>(name).data()[i];
}
inline void read(const Columns& c, const char* name, std::size_t i, Knots& values) {
    std::copy_n(c.column<double>(name).data() + i * kTokenKnots, kTokenKnots, values.begin());
}
inline void read(const Columns& c, const char* name, std::size_t i, Tiers& values) {
    std::copy_n(c.column<double>(name).data() + i * kCreditTiers, kCreditTiers, values.begin());
}

// A whole column; NumPy's bool is a byte.
inline void read(const Columns& c, const char* name, std::vector<double>& values) {
    const auto column = c.column<double>(name);
    values.assign(column.data(), column.data() + column.size());
}
inline void read(const Columns& c, const char* name, std::vector<std::int64_t>& values) {
    const auto column = c.column<std::int64_t>(name);
    values.assign(column.data(), column.data() + column.size());
}
inline void read(const Columns& c, const char* name, std::vector<std::uint8_t>& values) {
    const auto column = c.column<bool>(name);
    values.assign(column.data(), column.data() + column.size());
}

#define TOKENFLEET_READ(type, name) read(c, #name, i, row.name);

inline void read_model(const Columns& c, std::size_t i, Pool& row) { TOKENFLEET_MODEL_COLUMNS(TOKENFLEET_READ) }
inline void read_row(const Columns& c, std::size_t i, Pool& row) {
    TOKENFLEET_POOL_COLUMNS(TOKENFLEET_READ)
    read_model(c, i, row);
}
inline void read_row(const Columns& c, std::size_t i, RequestClass& row) { TOKENFLEET_CLASS_COLUMNS(TOKENFLEET_READ) }
inline void read_row(const Columns& c, std::size_t i, Site& row) { TOKENFLEET_SITE_COLUMNS(TOKENFLEET_READ) }
inline void read_row(const Columns& c, std::size_t i, NodeLimits& row) { TOKENFLEET_NODE_COLUMNS(TOKENFLEET_READ) }

#undef TOKENFLEET_READ

// One struct for every entry of the columns, of which `sized` is one of doubles.
template <typename Row>
std::vector<Row> read_rows(const Columns& c, const char* sized) {
    std::vector<Row> rows(c.size(sized));
    for (std::size_t i = 0; i < rows.size(); ++i) read_row(c, i, rows[i]);
    return rows;
}

// A name that the Python table does not have raises KeyError: the two tables cannot drift apart unnoticed.
inline std::int64_t read_offset(nb::handle layout, const char* name) {
    return nb::cast<std::int64_t>(layout.attr("offsets")[name]);
}

#define TOKENFLEET_READ(name) read_offset(layout, #name),

inline View::Layout read_view_layout(nb::handle layout) {
    return {.offsets = {TOKENFLEET_VIEW_FIELDS(TOKENFLEET_READ)},
            .exogenous = read_offset(layout, "cap_w"),
            .row_cap_w = read_offset(layout, "row_cap_w"),
            .width = nb::cast<std::int64_t>(layout.attr("width"))};
}

inline Outcome::Layout read_outcome_layout(nb::handle layout) {
    return {.offsets = {TOKENFLEET_OUTCOME_FIELDS(TOKENFLEET_READ)},
            .width = nb::cast<std::int64_t>(layout.attr("width"))};
}

#undef TOKENFLEET_READ

inline FleetArrays read_arrays(nb::handle arrays) {
    const Columns c(arrays);
    FleetArrays fleet;
    fleet.tick_s = nb::cast<double>(arrays.attr("tick_s"));
    fleet.horizon_ticks = nb::cast<std::int64_t>(arrays.attr("horizon_ticks"));
    fleet.pools = read_rows<Pool>(c, "wake_s");
    for (Pool& pool : fleet.pools) {
        pool.first_replica = fleet.num_replicas;
        fleet.num_replicas += pool.replicas;
    }
    const Columns variants(c.part("variants"));
    fleet.variants.resize(variants.size("wake_s"));
    for (const Pool& pool : fleet.pools) {
        if (pool.variant < 0) continue;
        Pool& variant = fleet.variants[pool.variant] = pool;
        variant.is_variant = true;
        read_model(variants, pool.variant, variant);
    }
    fleet.classes = read_rows<RequestClass>(c, "patience_s");
    fleet.sites = read_rows<Site>(c, "pue");
    fleet.nodes = read_rows<NodeLimits>(c, "restart_s");
#define TOKENFLEET_READ(type, name) read(c, #name, fleet.name);
    TOKENFLEET_LINK_COLUMNS(TOKENFLEET_READ)
#undef TOKENFLEET_READ
    fleet.view = read_view_layout(arrays.attr("view"));
    fleet.outcome = read_outcome_layout(arrays.attr("outcome"));
    return fleet;
}

// Columns of a request table about clients; the dictionary has those in which some request differs from the default.
class CallTable {
public:
    explicit CallTable(nb::handle table) : table_(nb::cast<nb::dict>(table)) {
#define TOKENFLEET_READ(type, name) read(#name, columns.name);
        TOKENFLEET_CALL_COLUMNS(TOKENFLEET_READ)
#undef TOKENFLEET_READ
    }

    CallColumns columns;  // as long as the dictionary lives; a column that had to be converted would not, and raises

    bool empty() const { return table_.size() == 0; }

private:
    nb::dict table_;

    template <typename T>
    void read(const char* name, const T*& column) {
        if (table_.contains(name)) column = nb::cast<Array<const T>>(table_[name], false).data();
    }
};

// The columns of an Episode object, as long as this lives; `clients` are columns of its request table.
class EpisodeSource {
public:
    EpisodeSource(nb::handle episode, nb::handle clients) : calls_(clients) {
        const Columns e(episode), r(e.part("requests")), f(e.part("failures")), x(e.part("contexts"));
        columns.num_requests = hold(r, "arrival_s", columns.arrival_s);
        hold(r, "prompt_tokens", columns.prompt_tokens);
        hold(r, "output_tokens", columns.output_tokens);
        hold(r, "class_id", columns.class_id);
        columns.calls = calls_.columns;
        columns.has_calls = !calls_.empty();
#define TOKENFLEET_HOLD(name, length) hold(e, #name, columns.name);
        TOKENFLEET_EPISODE_SERIES(TOKENFLEET_HOLD)
#undef TOKENFLEET_HOLD
        hold(e, "exogenous", columns.exogenous);
        columns.num_failures = hold(f, "repaired_s", columns.repaired_s);
        hold(f, "tick", columns.failure_tick);
        hold(f, "replica", columns.failed_replica);
        columns.num_contexts = hold(x, "row", columns.context_row);
        hold(x, "replica", columns.context_holder);
    }

    EpisodeColumns columns{};

private:
    CallTable calls_;
    std::vector<nb::ndarray<nb::ro>> held_;

    // Point at a column; returns its length.
    template <typename T>
    std::int64_t hold(const Columns& c, const char* name, const T*& column) {
        const auto array = c.column<T>(name);
        column = array.data();
        held_.emplace_back(array);
        return static_cast<std::int64_t>(array.size());
    }
};

}  // namespace tokenfleet
