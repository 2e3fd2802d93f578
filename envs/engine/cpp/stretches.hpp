// Which rows of a table of requests may differ between two fleets, so that a fork copies these alone.
//
// A request changes while it is under way, and before that when a call that it waits for is answered. A stretch of the
// table has a version, which stands for the contents of all its rows but those under way: whenever a request of the stretch
// is made, ends or hears of an answer, the stretch gets a version never used before. A fleet that takes over the state of
// another fleet takes over the versions too. What the fleet does from then on gets versions of its own.
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
    static constexpr std::size_t kRows = 64;

    Stretches() = default;
    explicit Stretches(std::size_t rows)
        : version_(new_life()), stretches_((rows + kRows - 1) / kRows, {version_, 0}) {}

    Stretches(const Stretches&) = delete;  // two of the same life could come to the same versions
    Stretches(Stretches&&) = default;
    Stretches& operator=(const Stretches&) = delete;
    Stretches& operator=(Stretches&&) = default;
    ~Stretches() = default;

    std::size_t bytes() const { return stretches_.size() * sizeof(Stretch); }

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
        constexpr std::size_t kAtOnce = 8;  // most are alike, and so many are compared without a branch
        for (std::size_t first = 0; first < stretches_.size(); first += kAtOnce) {
            const std::size_t end = std::min(first + kAtOnce, stretches_.size());
            std::uint64_t differences = 0;
            for (std::size_t s = first; s < end; ++s) {
                const Stretch& theirs = other.stretches_[s];
                differences |= (theirs.version ^ stretches_[s].version) | theirs.under_way;
            }
            if (differences == 0) continue;
            for (std::size_t s = first; s < end; ++s) take_over(s, other.stretches_[s], rows, copy_row, copy_rows);
        }
        version_ = new_life();
    }

    // All rows have been copied from another table.
    void take_over(const Stretches& other) {
        stretches_ = other.stretches_;
        version_ = new_life();
    }

private:
    struct Stretch {
        std::uint64_t version;
        std::uint64_t under_way;  // a bit for each request that has been made and has not ended
    };
    static constexpr int kChangeBits = 24;  // of a version; the others say in which life

    std::uint64_t version_ = 0;  // the newest of this life
    std::vector<Stretch> stretches_;

    template <typename CopyRow, typename CopyRows>
    void take_over(std::size_t s, const Stretch& theirs, std::size_t rows, const CopyRow& copy_row,
                   const CopyRows& copy_rows) {
        if (theirs.version != stretches_[s].version) {
            copy_rows(s * kRows, std::min((s + 1) * kRows, rows));
            stretches_[s] = theirs;
            return;
        }
        for (std::uint64_t left = theirs.under_way; left != 0; left &= left - 1) {
            copy_row(s * kRows + static_cast<std::size_t>(std::countr_zero(left)));
        }
    }

    static std::uint64_t new_life() {
        static std::atomic<std::uint64_t> lives{0};
        return ++lives << kChangeBits;
    }

    void change(std::int32_t row, std::uint64_t toggled) {
        if (++version_ << (64 - kChangeBits) == 0) [[unlikely]]
            version_ = new_life();
        Stretch& stretch = stretches_[static_cast<std::size_t>(row) / kRows];
        stretch = {version_, stretch.under_way ^ toggled};
    }
};

}  // namespace tokenfleet
