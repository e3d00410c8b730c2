#!/usr/bin/env bash
# Runs the test matrix on this machine's devices, then the benches, from an unpacked bundle (tools/bundle.sh) or a built checkout. Ends within eight minutes and
# leaves results.json, log.txt and the benches' tables in OUT (default: ./gpu-check).
#   SATURN_TEST_DEVICES  the devices to test, by default cuda:0; the first one is benched
#   SATURN_NVRTC         NVRTC, where it is neither in the CUDA folders nor on the loader's path nor in the Python packages
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-gpu-check}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -f "$out"/*.json "$out"/*.jsonl "$out"/*.txt
exec > >(tee "$out/log.txt") 2>&1

if [ -x "$here/app/Saturn.Tests" ]; then
    saturn=("$here/app/saturn")
    tests=("$here/app/Saturn.Tests")
else
    bin="$here/../artifacts/bin"
    saturn=(dotnet "$bin/Saturn.Cli/release/saturn.dll")
    tests=(dotnet "$bin/Saturn.Tests/release/Saturn.Tests.dll")
fi

export SATURN_TEST_DEVICES=${SATURN_TEST_DEVICES:-cuda:0}
export SATURN_CACHE_DIR=${SATURN_CACHE_DIR:-$out/cache}
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
device=${SATURN_TEST_DEVICES%%,*}

# Python packages that bring NVRTC are found through the environment that they are installed in.
if [ -z "${VIRTUAL_ENV:-}" ] && command -v python3 >/dev/null; then
    VIRTUAL_ENV=$(python3 -c 'import sys; print(sys.prefix)') && export VIRTUAL_ENV
fi

begin=$SECONDS
left() { echo $((460 - (SECONDS - begin) > 5 ? 460 - (SECONDS - begin) : 5)); }
at_most() { local rest; rest=$(left); echo $((rest < $1 ? rest : $1)); }

echo "== machine"
command -v nvidia-smi >/dev/null && nvidia-smi
"${saturn[@]}" info
info=$?

echo "== tests on $SATURN_TEST_DEVICES"
# Device names consist of letters, digits and colons, of which no regular expression makes anything else.
names=${SATURN_TEST_DEVICES//,/|}
names=${names// /}
# These read the checkout or start the SDK.
checkout='The_page_of_kernel_resources|Processes_that_compile_at_once'
# A kernel that hangs or loses the context ends the process; the next one goes on behind it.
tested=3
for _ in 1 2 3 4 5 6 7 8; do
    timeout -k 10 "$(at_most 250)" "${tests[@]}" --match "\\(\"($names)\"|^Saturn\\.Tests\\.Cuda\\." --skip "$checkout" \
        --seconds "$((330 - (SECONDS - begin) > 1 ? 330 - (SECONDS - begin) : 1))" --log "$out/tests.jsonl" --results "$out/tests.json"
    tested=$?
    [ "$tested" -gt 2 ] && [ $((SECONDS - begin)) -lt 300 ] || break
done
echo "exit code $tested"

benches=""
bench() {
    local name=$1
    shift
    echo "== bench $name"
    timeout -k 10 "$(at_most 90)" "${saturn[@]}" bench "$@" --device "$device" --json "$out/benches.jsonl"
    local code=$?
    echo "exit code $code"
    benches="$benches${benches:+, }\"$name\": $code"
}
bench launches launches
bench kernels kernels --no-peer --rounds 3
bench steps steps --no-peer --rounds 2

[ -f "$out/tests.json" ] || echo null > "$out/tests.json"
tables=$([ -f "$out/benches.jsonl" ] && paste -sd, "$out/benches.jsonl")
cat > "$out/results.json" <<JSON
{
"device": "$device",
"seconds": $((SECONDS - begin)),
"exitCodes": { "info": $info, "tests": $tested, $benches },
"tests": $(cat "$out/tests.json"),
"benches": [ $tables ]
}
JSON
echo "== $((SECONDS - begin)) seconds; $out/results.json"
[ "$tested" -eq 0 ]
