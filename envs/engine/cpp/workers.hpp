// A few threads that share out the fleets of a batch, always the same way, so results cannot depend on their number.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tokenfleet {

class Workers {
public:
    explicit Workers(std::int64_t threads) {
        for (std::int64_t t = 1; t < threads; ++t) helpers_.emplace_back([this, t] { help(t); });
    }
    ~Workers() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        for (std::thread& helper : helpers_) helper.join();
    }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // Call job(i) for every i in [0, count): each of T threads takes a run of them, in order.
    void run(std::int64_t count, const std::function<void(std::int64_t)>& job) {
        if (helpers_.empty()) {
            for (std::int64_t i = 0; i < count; ++i) job(i);
            return;
        }
        {
            const std::lock_guard lock(mutex_);
            job_ = &job;
            count_ = count;
            busy_ = helpers_.size();
            ++round_;
        }
        wake_.notify_all();
        work(0, job, count);
        std::unique_lock lock(mutex_);
        done_.wait(lock, [this] { return busy_ == 0; });
    }

private:
    std::vector<std::thread> helpers_;
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    const std::function<void(std::int64_t)>* job_ = nullptr;
    std::int64_t count_ = 0;
    std::size_t busy_ = 0;
    std::uint64_t round_ = 0;
    bool stopping_ = false;

    void work(std::int64_t thread, const std::function<void(std::int64_t)>& job, std::int64_t count) const {
        const auto threads = static_cast<std::int64_t>(helpers_.size()) + 1;
        for (std::int64_t i = thread * count / threads; i < (thread + 1) * count / threads; ++i) job(i);
    }

    void help(std::int64_t thread) {
        std::uint64_t seen = 0;
        while (true) {
            const std::function<void(std::int64_t)>* job = nullptr;
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
                const std::lock_guard lock(mutex_);
                --busy_;
            }
            done_.notify_one();
        }
    }
};

}  // namespace tokenfleet
