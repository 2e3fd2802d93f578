// Which stretches of a table of requests two fleets have in common, so that a fork copies the others alone.
//
// A request changes only while it is under way. A stretch without a request under way keeps its contents, and a version
// that stands for these contents alone: whenever a request of the stretch is made or ends, the stretch gets a version
// never used before. A fleet that takes over the state of another fleet takes over the versions too. What the fleet
// does from then on gets versions of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokenfleet {

class Stretches {
public:
    static constexpr std::size_t kRows = 16;

    Stretches() = default;
    explicit Stretches(std::size_t rows) : life_(new_life()), stretches_((rows + kRows - 1) / kRows, {life_, 0, 0}) {}

    Stretches(const Stretches&) = delete;  // two of the same life could come to the same versions
    Stretches(Stretches&&) = default;
    Stretches& operator=(const Stretches&) = delete;
    Stretches& operator=(Stretches&&) = default;
    ~Stretches() = default;

    std::size_t bytes() const { return stretches_.size() * sizeof(Stretch); }

    void begin(std::int32_t row) { change(row, +1); }
    void end(std::int32_t row) { change(row, -1); }

    // Let `copy(first, end)` copy the rows that may differ from those of another table of as many.
    template <typename Copy>
    void take_over(const Stretches& other, std::size_t rows, const Copy& copy) {
        for (std::size_t s = 0; s < stretches_.size(); ++s) {
            if (other.stretches_[s].is_still_as(stretches_[s])) continue;
            copy(s * kRows, std::min((s + 1) * kRows, rows));
            stretches_[s] = other.stretches_[s];
        }
        life_ = new_life();
    }

    // All rows have been copied from another table.
    void take_over(const Stretches& other) {
        stretches_ = other.stretches_;
        life_ = new_life();
    }

private:
    struct Stretch {
        std::uint64_t life;
        std::uint32_t change;
        std::int32_t under_way;  // requests that have been made and have not ended

        bool is_still_as(const Stretch& other) const {
            return life == other.life && change == other.change && under_way == 0;
        }
    };

    std::uint64_t life_ = 0;
    std::uint32_t changes_ = 0;
    std::vector<Stretch> stretches_;

    static std::uint64_t new_life() {
        static std::atomic<std::uint64_t> lives{0};
        return ++lives;
    }

    void change(std::int32_t row, std::int32_t more) {
        if (++changes_ == 0) life_ = new_life();
        Stretch& stretch = stretches_[static_cast<std::size_t>(row) / kRows];
        stretch = {life_, changes_, stretch.under_way + more};
    }
};

}  // namespace tokenfleet
