#!/usr/bin/env bash
# Everything to run on the day a GPU is there, in under 25 minutes; docs/gpu.md says what was found so far.
#
#     tests/on_a_gpu.sh FOLDER [TEST_PATHS...]
#
# Each step has a time limit, writes FOLDER/STEP.log, and a failure stops no other; FOLDER/summary.txt has a line for each.
# The exit code is 1 if any step failed.  With TEST_PATHS, only these tests run, also under compute-sanitizer.
# OPS: the ops to measure, all if empty; TRAINING: more options of `minixl bench train`.  Needs cupy, torch, transformers, pytest, and CUDA's compute-sanitizer on the PATH.
# Without a GPU the tests run on the stand-in of tests/device, and the benchmarks on the CPU.
set -u
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo "usage: tests/on_a_gpu.sh FOLDER [TEST_PATHS...]" >&2; exit 2; }
folder=$(mkdir -p "$1" && cd "$1" && pwd) || exit 2
shift
python=${PYTHON:-python3} failed=0
export PYTHONUNBUFFERED=1
: > "$folder/summary.txt"

step() {                                   # step NAME SECONDS COMMAND...
    local name=$1 limit=$2 begin=$SECONDS code
    shift 2
    timeout -k 5 "$limit" "$@" > "$folder/$name.log" 2>&1
    code=$?
    [ $code = 0 ] || failed=1
    [ $code != 124 ] || code="124 (stopped after its limit of $limit s)"
    echo "$name: exit code $code, $((SECONDS - begin)) s; $(tail -n 1 "$folder/$name.log" | cut -c 1-160)" | tee -a "$folder/summary.txt"
}

pytest=("$python" -m pytest -p no:cacheprovider -p no:benchmark -m gpu)
"$python" -c 'import xdist' 2>/dev/null && parallel="-n $(($(nproc) / 2))" || parallel=""
device=$("$python" -c 'import cupy; print("cuda" if cupy.cuda.is_available() else "cpu")')

step device 60 "$python" -c 'import cupy; cupy.show_config()'
step tests 400 "${pytest[@]}" $parallel "${@:-tests}"
step kernels 300 "$python" -m minixl bench kernels ${OPS:-} --against torch --json "$folder/kernels.json"
step training 150 "$python" -m minixl bench train --device "$device" --against torch --steps 3 ${TRAINING:-} --json "$folder/training.json"
for tool in memcheck racecheck; do
    step "$tool" 250 compute-sanitizer --tool $tool --error-exitcode 3 --target-processes all "${pytest[@]}" "${@:-tests/kernels}"
done
exit $failed
