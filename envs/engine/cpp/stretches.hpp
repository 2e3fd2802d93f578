// Which rows of a table of requests may differ between two fleets, so that a fork copies these alone.
//
// A request changes while it is under way, and before that when a call that it waits for is answered. A stretch of the
// table has a version, which stands for the contents of all its rows but those under way: whenever a request of the stretch
// is made, ends or hears of an answer, the stretch gets a version never used before. A group of stretches has the version
// of the one that changed last, so that a fork passes over most of the table without a look at its stretches. A fleet that
// takes over the state of another fleet takes over the versions too. What the fleet does from then on gets versions of its
// own.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokenfleet {

class Stretches {
public:
    static constexpr std::size_t kRows = 64;       // of a stretch
    static constexpr std::size_t kStretches = 16;  // of a group

    Stretches() = default;
    explicit Stretches(std::size_t rows)
        : version_(new_life()),
          stretches_((rows + kRows - 1) / kRows, {version_, 0}),
          groups_((stretches_.size() + kStretches - 1) / kStretches, {version_, 0}) {}

    Stretches(const Stretches&) = delete;  // two of the same life could come to the same versions
    Stretches(Stretches&&) = default;
    Stretches& operator=(const Stretches&) = delete;
    Stretches& operator=(Stretches&&) = default;
    ~Stretches() = default;

    std::size_t bytes() const { return stretches_.size() * sizeof(Stretch) + groups_.size() * sizeof(Group); }

    std::size_t rows_under_way() const {
        std::size_t rows = 0;
        for (const Stretch& stretch : stretches_) rows += static_cast<std::size_t>(std::popcount(stretch.under_way));
        return rows;
    }

    // A request is made or ends.
    void begin_or_end(std::int32_t row) { change(row, std::uint64_t{1} << (static_cast<std::size_t>(row) % kRows)); }

    // A row changes although no request of it is under way.
    void touch(std::int32_t row) { change(row, 0); }

    // Let `copy_row(row)` and `copy_rows(first, end)` copy the rows that may differ from those of another table of as many.
    template <typename CopyRow, typename CopyRows>
    void take_over(const Stretches& other, std::size_t rows, const CopyRow& copy_row, const CopyRows& copy_rows) {
        const auto copy_under_way = [&](std::size_t s) {
            for_each_bit(other.stretches_[s].under_way, [&](std::size_t row) { copy_row(s * kRows + row); });
        };
        for (std::size_t g = 0; g < groups_.size(); ++g) {
            const Group& theirs = other.groups_[g];
            const std::size_t first = g * kStretches;
            if (theirs.version == groups_[g].version) {
                for_each_bit(theirs.with_requests, [&](std::size_t s) { copy_under_way(first + s); });
                continue;
            }
            for (std::size_t s = first; s < std::min(first + kStretches, stretches_.size()); ++s) {
                if (other.stretches_[s].version == stretches_[s].version) {
                    copy_under_way(s);
                } else {
                    copy_rows(s * kRows, std::min((s + 1) * kRows, rows));
                    stretches_[s] = other.stretches_[s];
                }
            }
            groups_[g] = theirs;
        }
        version_ = new_life();
    }

    // All rows have been copied from another table.
    void take_over(const Stretches& other) {
        stretches_ = other.stretches_;
        groups_ = other.groups_;
        version_ = new_life();
    }

private:
    struct Stretch {
        std::uint64_t version;
        std::uint64_t under_way;  // a bit for each request that has been made and has not ended
    };
    struct Group {
        std::uint64_t version;
        std::uint64_t with_requests;  // a bit for each stretch with a request under way
    };
    static constexpr int kChangeBits = 24;  // of a version; the others say in which life

    std::uint64_t version_ = 0;  // the newest of this life
    std::vector<Stretch> stretches_;
    std::vector<Group> groups_;

    template <typename Visit>
    static void for_each_bit(std::uint64_t bits, const Visit& visit) {
        for (; bits != 0; bits &= bits - 1) visit(static_cast<std::size_t>(std::countr_zero(bits)));
    }

    static std::uint64_t new_life() {
        static std::atomic<std::uint64_t> lives{0};
        return ++lives << kChangeBits;
    }

    void change(std::int32_t row, std::uint64_t toggled) {
        if (++version_ << (64 - kChangeBits) == 0) [[unlikely]]
            version_ = new_life();
        const std::size_t s = static_cast<std::size_t>(row) / kRows;
        Stretch& stretch = stretches_[s];
        stretch = {version_, stretch.under_way ^ toggled};
        Group& group = groups_[s / kStretches];
        const std::uint64_t bit = std::uint64_t{1} << (s % kStretches);
        group = {version_, stretch.under_way != 0 ? group.with_requests | bit : group.with_requests & ~bit};
    }
};

}  // namespace tokenfleet
