#!/usr/bin/env bash
# Build the native engine with sanitizers, apart from the one that is installed, and run it under them.
#
#   tools/sanitize.sh [MINUTES]   of random instances under the address sanitizer (default: 1)
#
# A sanitizer's runtime must be the first library of its process, and Python is not built with it: it is preloaded. That
# works for both runtimes of GCC. TOKENFLEET_NATIVE names the folder from which the engine is loaded then
# (tests/sanitized.py). Python and NumPy leave memory to the end of the process, so leaks are not looked for.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-1}
python=$PWD/.venv/bin/python
compiler=${CXX:-g++}
export OMP_NUM_THREADS=1 PATH=$PWD/.venv/bin:$PATH

build() {  # build NAME FLAGS; without optimization, which could do away with what is looked for
  cmake -S . -B build/sanitize -G Ninja -DPython_EXECUTABLE="$python" \
    -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" \
    -DTOKENFLEET_FLAGS="-O0;-g;-fno-omit-frame-pointer;$2" > /dev/null
  cmake --build build/sanitize > /dev/null
  mkdir -p "build/sanitize/$1" && mv build/sanitize/_native*.so "build/sanitize/$1/"
}

under() {  # under NAME RUNTIME ARGUMENTS OF PYTHON
  local name=$1 runtime; runtime=$("$compiler" -print-file-name="$2"); shift 2
  # libstdc++ too, else the runtime finds no exceptions to intercept; without ASLR, which the thread sanitizer of
  # older compilers takes for a stranger in its memory.
  TOKENFLEET_NATIVE=$PWD/build/sanitize/$name LD_PRELOAD="$runtime $("$compiler" -print-file-name=libstdc++.so)" \
    setarch "$(uname -m)" -R "$python" "$@"
}

echo "address and undefined behaviour ..."
build address "-fsanitize=address,undefined;-fno-sanitize-recover=all"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
under address libasan.so -m tests.sanitized fuzz --minutes "$minutes"
under address libasan.so -m tests.sanitized threads

echo "threads ..."
build thread "-fsanitize=thread"
export TSAN_OPTIONS=halt_on_error=1:exitcode=66
"$compiler" -std=c++20 -g -fsanitize=thread -pthread -Ienvs/engine/cpp tests/engine/cpp/workers_test.cpp \
  -o build/sanitize/workers_test
setarch "$(uname -m)" -R build/sanitize/workers_test no-forks
under thread libtsan.so -m tests.sanitized threads
echo "no reports"
