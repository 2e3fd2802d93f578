// What envs/engine/cpp/workers.hpp promises. test_workers.py builds and runs it, and so does tools/sanitize.sh, with the
// thread sanitizer. Each check prints a line when it fails; the exit status is their number.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "workers.hpp"

namespace {

using tokenfleet::Workers;

int failures = 0;

void expect(bool holds, const std::string& what) {
    if (holds) return;
    std::cout << "not so: " << what << std::endl;
    ++failures;
}

// How often each of `count` indices is visited.
std::vector<int> visits(Workers& workers, std::int64_t count) {
    std::vector<int> seen(static_cast<std::size_t>(count));
    workers.run(count, [&](std::int64_t first, std::int64_t end) {
        for (std::int64_t i = first; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    return seen;
}

void every_index_is_visited_once() {
    for (const std::int64_t threads : {1, 2, 3, 8}) {
        Workers workers(threads);
        for (int round = 0; round < 200; ++round) {
            const std::int64_t count = round % 13;
            expect(visits(workers, count) == std::vector<int>(static_cast<std::size_t>(count), 1),
                   std::to_string(threads) + " threads visit each of " + std::to_string(count) + " once");
        }
    }
}

// The first run that throws is heard, whichever thread has it, and the next round is as if nothing had been.
void an_exception_reaches_the_caller() {
    for (std::int64_t thrower = 0; thrower < 4; ++thrower) {
        Workers workers(4);
        std::atomic<int> ended = 0;
        std::string heard;
        try {
            workers.run(4, [&](std::int64_t first, std::int64_t) {
                ++ended;
                if (first >= thrower) throw std::runtime_error("run " + std::to_string(first));
            });
        } catch (const std::runtime_error& error) {
            heard = error.what();
        }
        expect(heard == "run " + std::to_string(thrower),
               "run " + std::to_string(thrower) + " is heard, not '" + heard + "'");
        expect(ended == 4, "all runs have ended when it is heard");
        expect(visits(workers, 9) == std::vector<int>(9, 1), "the workers work on after an exception");
    }
}

// Exit status of a child that does `work`; it is killed after ten seconds.
template <typename Work>
int in_child(Work work) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(10);
        _exit(work() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

void a_forked_process_has_workers_of_its_own() {
    Workers workers(3);
    visits(workers, 5);  // their threads are there
    expect(in_child([&] { return visits(workers, 5) == std::vector<int>(5, 1); }) == 0, "workers work in a child");
    expect(in_child([&] { return in_child([&] { return visits(workers, 7) == std::vector<int>(7, 1); }) == 0; }) == 0,
           "and in a child of a child");
    expect(visits(workers, 5) == std::vector<int>(5, 1), "and go on in the parent");
    expect(in_child([] {
               Workers mine(2);
               return visits(mine, 3) == std::vector<int>(3, 1);
           }) == 0,
           "workers made in a child end with it");
}

}  // namespace

// With `no-forks` the thread sanitizer is content, which cannot follow the threads of a forked process.
int main(int count, char** arguments) {
    every_index_is_visited_once();
    an_exception_reaches_the_caller();
    if (count == 1 || std::string(arguments[1]) != "no-forks") a_forked_process_has_workers_of_its_own();
    return failures;
}
