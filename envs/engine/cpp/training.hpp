// The training jobs of a site in time: the C++ mirror of envs/engine/reference/training.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "power_states.hpp"

namespace tokenfleet {

class Training {
public:
    // Begin with every job at work, just saved; none where the site does not train.
    explicit Training(const Site& site)
        : jobs_(site.training >= 0 ? static_cast<std::size_t>(site.training_jobs) : 0) {}

    // A tick; what the boards and servers drew. `share` of the jobs should work; `speed` is the clock in force.
    double run(const Site& site, double tick_s, double share, bool is_dark, double speed, const Outcome& outcome) {
        if (site.training < 0) return 0.0;
        if (is_dark) {
            const double lost_s = lose_power();
            outcome(Outcome::training_lost_s, site.training) = lost_s;
            outcome(Outcome::training_usd, site.training) = -lost_s * site.training_usd_per_s;
            return 0.0;
        }
        const auto count = static_cast<double>(jobs_.size());
        const auto wanted = static_cast<std::int64_t>(std::ceil(share * count - kRoundedReplicas));
        double work_s = 0.0, paused_s = 0.0;
        for (std::size_t i = 0; i < jobs_.size(); ++i) {
            ask(jobs_[i], site, static_cast<std::int64_t>(i) < wanted);
            const Passed passed = pass_tick(jobs_[i], site, tick_s, speed);
            work_s += passed.work_s;
            paused_s += passed.paused_s;
        }
        const double active_s = count * tick_s - paused_s;
        const double active_w = site.training_idle_w + (site.training_busy_w - site.training_idle_w) * speed;
        const double energy_j = site.training_idle_w * paused_s + active_w * active_s;
        outcome(Outcome::training_work_s, site.training) = work_s;
        outcome(Outcome::training_usd, site.training) = work_s * site.training_usd_per_s;
        outcome(Outcome::training_energy_j, site.training) = energy_j;
        return energy_j;
    }

    // What a policy sees of the jobs.
    void write_view(const Site& site, const View& view) const {
        if (site.training < 0) return;
        std::int64_t working = 0;
        double unsaved_s = 0.0;
        for (const Job& job : jobs_) {
            working += job.mode == Mode::kWorking;
            unsaved_s += job.unsaved_s;
        }
        view.set(View::working_jobs, site.training, working);
        view.set(View::unsaved_work_s, site.training, unsaved_s);
    }

private:
    enum class Mode : std::uint8_t { kWorking, kSaving, kPaused, kResuming };

    struct Job {
        Mode mode = Mode::kWorking;
        double left_s = 0.0, unsaved_s = 0.0;
        bool stops = false;  // once it has saved
    };
    struct Passed {
        double work_s, paused_s;
    };

    std::vector<Job> jobs_;

    double lose_power() {
        double lost_s = 0.0;
        for (Job& job : jobs_) {
            lost_s += job.unsaved_s;
            job = {.mode = Mode::kPaused};
        }
        return lost_s;
    }

    static void ask(Job& job, const Site& site, bool works) {
        if (works && job.mode == Mode::kPaused) {
            job.mode = Mode::kResuming;
            job.left_s = site.training_resume_s;
        }
        if (!works && job.mode == Mode::kResuming) job.mode = Mode::kPaused;
        if (!works && job.mode == Mode::kWorking) {
            job.mode = Mode::kSaving;
            job.left_s = site.checkpoint_s;
        }
        job.stops = !works;
    }

    static Passed pass_tick(Job& job, const Site& site, double tick_s, double speed) {
        double left_s = tick_s, work_s = 0.0;
        while (left_s > 0.0 && job.mode != Mode::kPaused) {
            if (job.mode == Mode::kWorking) {
                const double to_save_s = site.checkpoint_interval_s - job.unsaved_s;
                if (left_s * speed < to_save_s) {
                    job.unsaved_s += left_s * speed;
                    return {work_s + left_s * speed, 0.0};
                }
                const double cycle_s = site.checkpoint_interval_s / speed + site.checkpoint_s;
                if (job.unsaved_s == 0.0 && left_s >= cycle_s) {
                    const double cycles = std::floor(left_s / cycle_s);
                    work_s += cycles * site.checkpoint_interval_s;
                    left_s -= cycles * cycle_s;
                    continue;
                }
                work_s += to_save_s;
                left_s -= to_save_s / speed;
                job.mode = Mode::kSaving;
                job.left_s = site.checkpoint_s;
                job.unsaved_s = site.checkpoint_interval_s;
            } else if (left_s < job.left_s) {
                job.left_s -= left_s;
                return {work_s, 0.0};
            } else {
                left_s -= job.left_s;
                const bool was_saving = job.mode == Mode::kSaving;
                job.unsaved_s = 0.0;
                job.mode = was_saving && job.stops ? Mode::kPaused : Mode::kWorking;
            }
        }
        return {work_s, std::max(left_s, 0.0)};
    }
};

}  // namespace tokenfleet
