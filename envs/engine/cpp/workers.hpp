// A few threads that share out the fleets of a batch, always the same way, so results cannot depend on their number.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tokenfleet {

// job(first, end) does the work of all i in [first, end), in order.
using Job = std::function<void(std::int64_t, std::int64_t)>;

// Threads that help the thread of their owner.
class ThreadPool {
public:
    explicit ThreadPool(std::int64_t helpers) : failures_(static_cast<std::size_t>(helpers) + 1) {
        try {
            for (std::int64_t t = 1; t <= helpers; ++t) helpers_.emplace_back([this, t] { help(t); });
        } catch (...) {  // the system has no more threads to give: those that it gave must end before their members do
            dismiss();
            throw;
        }
    }
    ~ThreadPool() { dismiss(); }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    void run(std::int64_t count, const Job& job) {
        {
            const std::lock_guard lock(mutex_);
            job_ = &job;
            count_ = count;
            busy_ = helpers_.size();
            ++round_;
        }
        wake_.notify_all();
        work(0, job, count);
        {
            std::unique_lock lock(mutex_);
            done_.wait(lock, [this] { return busy_ == 0; });
        }
        raise_first_failure();
    }

private:
    std::vector<std::thread> helpers_;
    std::vector<std::exception_ptr> failures_;  // of each thread in this round
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const Job* job_ = nullptr;
    std::int64_t count_ = 0;
    std::size_t busy_ = 0;
    std::uint64_t round_ = 0;
    bool stopping_ = false;

    // What a job throws is kept for whoever called `run`: thrown out of a thread, it would end the process.
    void work(std::int64_t thread, const Job& job, std::int64_t count) {
        const auto threads = static_cast<std::int64_t>(failures_.size());
        try {
            job(thread * count / threads, (thread + 1) * count / threads);
        } catch (...) {
            failures_[static_cast<std::size_t>(thread)] = std::current_exception();
        }
    }

    void raise_first_failure() {
        const auto failed =
            std::find_if(failures_.begin(), failures_.end(), [](const auto& f) { return f != nullptr; });
        if (failed == failures_.end()) return;
        const std::exception_ptr failure = *failed;
        std::fill(failures_.begin(), failures_.end(), nullptr);
        std::rethrow_exception(failure);
    }

    void help(std::int64_t thread) {
        std::uint64_t seen = 0;
        while (true) {
            const Job* job = nullptr;
            std::int64_t count = 0;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
                if (stopping_) return;
                seen = round_;
                job = job_;
                count = count_;
            }
            work(thread, *job, count);
            {
                // Told under the lock: as soon as it is free the owner may be gone, and `done_` with it.
                const std::lock_guard lock(mutex_);
                --busy_;
                done_.notify_one();
            }
        }
    }

    void dismiss() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& helper : helpers_) helper.join();
    }
};

class Workers {
public:
    explicit Workers(std::int64_t threads) : threads_(threads) {}
    ~Workers() { leave_to_parent(); }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // Share out [0, count): each of T threads takes a run of it. What `job` throws comes back here when all have ended,
    // from the first run if several throw.
    void run(std::int64_t count, const Job& job) {
        if (threads_ <= 1) return job(0, count);
        leave_to_parent();
        if (pool_ == nullptr) {
            pool_ = std::make_unique<ThreadPool>(threads_ - 1);
            process_ = getpid();
        }
        pool_->run(count, job);
    }

private:
    std::int64_t threads_;
    std::unique_ptr<ThreadPool> pool_;  // from the first run on
    pid_t process_ = 0;                 // in which its threads live

    // A forked process has a copy of the pool, but none of its threads. To end or to wake them would wait for ever, so
    // the copy is given up as it lies.
    void leave_to_parent() {
        if (pool_ != nullptr && process_ != getpid()) static_cast<void>(pool_.release());
    }
};

}  // namespace tokenfleet
