#!/usr/bin/env bash
# Everything to run on the day a GPU is there, in under 25 minutes; docs/gpu.md has what it found so far.
#
#     tests/on_a_gpu.sh FOLDER [SHARE]      SHARE: percent of the time limits, 100 when left out
#
# Each step has a time limit, writes FOLDER/STEP.log and goes on after a failure; FOLDER/summary.txt has one line a step.
# The exit code is 1 if any step failed.  Needs a driver, cupy, torch, pytest, and for the sanitizer CUDA's compute-sanitizer.
set -u
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: tests/on_a_gpu.sh FOLDER [SHARE]" >&2; exit 2; }
folder=$(mkdir -p "$1" && cd "$1" && pwd) share=${2:-100}
python=${PYTHON:-python3} failed=0
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
: > "$folder/summary.txt"

step() {                                   # step NAME SECONDS COMMAND...
    local name=$1 limit=$(($2 * share / 100 + 1)) begin=$SECONDS code
    shift 2
    timeout -k 5 "$limit" "$@" > "$folder/$name.log" 2>&1
    code=$?
    [ $code = 0 ] || failed=1
    [ $code != 124 ] || code="124 (stopped after its limit of $limit s)"
    echo "$name: exit code $code, $((SECONDS - begin)) s; $(tail -n 1 "$folder/$name.log" | cut -c 1-160)" | tee -a "$folder/summary.txt"
}

workers() { "$python" -c 'import xdist' 2>/dev/null && echo "-n $(($(nproc) / 2 + 1))"; }

sanitizer() {                              # the kernel tests under one tool of compute-sanitizer
    step "sanitizer-$1" 300 compute-sanitizer --tool "$1" --error-exitcode 3 --target-processes all \
        "$python" -m pytest -p no:cacheprovider -p no:benchmark -m gpu -x tests/kernels
}

step device 60 "$python" -c 'import cupy; cupy.show_config()'
# shellcheck disable=SC2046
step tests 400 "$python" -m pytest -p no:cacheprovider -p no:benchmark -m gpu $(workers) tests
step kernels 300 "$python" -m minixl bench kernels --against torch --json "$folder/kernels.json"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do sanitizer $tool; done
else
    echo "sanitizer: compute-sanitizer is not on the PATH" | tee -a "$folder/summary.txt"
    failed=1
fi
exit $failed
