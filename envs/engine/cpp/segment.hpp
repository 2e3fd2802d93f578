// Closed forms over a run of iterations with an unchanged batch.
//
// Iteration i of a segment lasts time0 + i*time_step and takes the lesser of two energies, each affine in i too: with its
// work, and along the shoulder. All of them are affine because the context grows by one token per sequence and
// iteration. Sums over i, the iteration that is running at a given time, and the energy up to that time
// therefore need no loop. Where the boards' limit forces the clock down, a segment has one iteration.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "clock.hpp"
#include "stopwatch.hpp"

namespace tokenfleet {

class Segment {
public:
    std::int64_t planned = 0;  // iterations until the batch changes

    // `now` shows `now_s`.
    [[gnu::always_inline]] inline void begin(const Stopwatch& now, double now_s, const Pool& pool,
                                             const Physics& physics, const Batch& batch, std::int64_t iterations) {
        start_ = now;
        start_s_ = now_s;
        planned = iterations;
        time0_ = unlimited_time_s(physics.asked, batch);
        time_step_ = context_token_s(physics.asked, batch.prefill) * batch.growth;
        const double work_j = iteration_work_j(physics.asked, batch);
        const auto first_j = physics.draw.pieces_j(time0_, work_j);
        const auto step_j = physics.draw.pieces_j(time_step_, physics.asked.context_j * batch.growth);
        for (std::size_t k = 0; k < energies_.size(); ++k) energies_[k] = {first_j[k], step_j[k]};
        const Line limit{physics.draw.limit_w * time0_, physics.draw.limit_w * time_step_};
        if (energies_[1].first > limit.first) {
            slow_down(pool, physics, batch, work_j);
        } else if (energies_[1].step > limit.step) {
            const double last = static_cast<double>(planned - 1);
            if (energies_[1].at(last) > limit.at(last)) [[unlikely]]
                end_at_limit(physics, batch);
        }
        metered_j_ = 0.0;
        counted_ = 0;
    }

    // Let the segment's only iteration begin with a wait at a power of its own.
    void delay(double wait_s, double wait_w) {
        time0_ += wait_s;
        for (Line& energy : energies_) energy.first += wait_w * wait_s;
    }

    Stopwatch end() const { return end_of(planned); }

    // Iterations that have ended at or before now_s, at most `planned`.
    std::int64_t ended_by(double now_s) const {
        return ended(now_s, [now_s](double end_s) { return end_s <= now_s; });
    }

    // Iterations that have ended before now_s: one that ends with a tick belongs to the next.
    std::int64_t ended_before(double now_s) const {
        return ended(now_s, [now_s](double end_s) { return end_s < now_s; });
    }

    // Energy since the last call up to now_s, given that `ended` iterations have ended by then.
    double meter(double now_s, std::int64_t ended) {
        double total_j = energy_of(ended);
        if (ended < planned) {
            const double i = static_cast<double>(ended);
            const double time_s = time0_ + i * time_step_;
            total_j += lowest(i).at(i) / time_s * (start_.passed_s(now_s) - time_of(ended));
        }
        return take(total_j);
    }

    // Energy since the last call up to the end of the segment.
    double meter_all() { return take(energy_of(planned)); }

    // Iterations since the last call.
    std::int64_t count(std::int64_t ended) {
        const std::int64_t fresh = ended - counted_;
        counted_ = ended;
        return fresh;
    }

private:
    // A quantity that is affine in the index of the iteration.
    struct Line {
        double first, step;
        double at(double i) const { return first + i * step; }
        double sum(double n) const { return affine_sum(first, step, n); }
    };

    static constexpr double kNearS = 1e-8;

    Stopwatch start_;
    double start_s_ = 0.0;  // what it shows
    double time0_ = 0.0, time_step_ = 0.0;
    std::array<Line, 2> energies_{};
    double metered_j_ = 0.0;
    std::int64_t counted_ = 0;

    // The boards' limit forces the clock down; the next iteration, with its larger context, has another one.
    [[gnu::noinline]] void slow_down(const Pool& pool, const Physics& physics, const Batch& batch, double work_j) {
        const Load load = Load::of(physics, batch, time0_, work_j);
        planned = 1;
        time0_ = load.time_s(clock_under_limit(pool, physics, load));
        energies_.fill({pool.limit_w * time0_, 0.0});
    }

    // End the segment before the first iteration that would exceed the boards' limit.
    [[gnu::noinline]] void end_at_limit(const Physics& physics, Batch batch) {
        const double limit_w = physics.draw.limit_w;
        const double left_j = limit_w * time0_ - energies_[1].first;
        const double crossing = left_j / (energies_[1].step - limit_w * time_step_);
        if (crossing >= static_cast<double>(planned)) return;
        planned = static_cast<std::int64_t>(crossing) + 1;
        const double first_context = batch.context;
        for (; planned > 1; --planned) {  // by one at most, through rounding
            batch.context = first_context + static_cast<double>(planned - 1) * batch.growth;
            const double time_s = unlimited_time_s(physics.asked, batch);
            if (!physics.draw.exceeds_limit(time_s, iteration_work_j(physics.asked, batch))) return;
        }
    }

    static double affine_sum(double first, double step, double n) { return n * first + step * (0.5 * n * (n - 1.0)); }

    Stopwatch end_of(std::int64_t n) const { return start_.after(time_of(n)); }
    double time_of(std::int64_t n) const { return affine_sum(time0_, time_step_, static_cast<double>(n)); }

    // Iterations whose ends `has_passed`: only near to one of them it matters how exactly the time is told.
    template <typename HasPassed>
    std::int64_t ended(double now_s, const HasPassed& has_passed) const {
        const double elapsed_s = now_s - start_s_;
        std::int64_t n = guess(elapsed_s);
        if (elapsed_s - time_of(n) > kNearS && time_of(n + 1) - elapsed_s > kNearS) [[likely]]
            return n;
        while (n < planned && has_passed(end_of(n + 1).now_s())) ++n;
        while (n > 0 && !has_passed(end_of(n).now_s())) --n;
        return n;
    }

    // Root of n*time0 + time_step*n*(n-1)/2 = elapsed, off by at most one through rounding.
    std::int64_t guess(double elapsed_s) const {
        if (elapsed_s <= 0.0) return 0;
        const double b = time0_ - 0.5 * time_step_;
        const double n = 2.0 * elapsed_s / (b + std::sqrt(b * b + 2.0 * time_step_ * elapsed_s));
        return std::min(planned, static_cast<std::int64_t>(n));
    }

    // The line of the lesser of two energies, the first of equal ones.
    const Line& lowest(double i) const { return energies_[energies_[1].at(i) < energies_[0].at(i) ? 1 : 0]; }

    // Sum over the first n iterations of the lower line, which changes at one crossing at most.
    double energy_of(std::int64_t n) const {
        if (n == 0) return 0.0;
        const double count = static_cast<double>(n);
        const Line& first = energies_[energies_[1].first < energies_[0].first ? 1 : 0];
        if (n == 1) return first.first;
        const Line& last = lowest(count - 1.0);
        if (&first == &last) return first.sum(count);
        const double crossing = std::floor((last.first - first.first) / (first.step - last.step)) + 1.0;
        const double from = std::clamp(crossing, 1.0, count);
        return first.sum(from) + (last.sum(count) - last.sum(from));
    }

    double take(double total_j) {
        const double fresh_j = total_j - metered_j_;
        metered_j_ = total_j;
        return fresh_j;
    }
};

}  // namespace tokenfleet
