#!/usr/bin/env bash
# Tests, benches and trains on this machine's GPU, from an unpacked bundle (tools/bundle.sh) or a built checkout. See docs/gpu.md.
#   gpu-check.sh [PART] [OUT]     PART: all (default), or one of tests, kernels, steps, compare, train, of which each ends within GPU_CHECK_SECONDS
#                                 OUT: where results go (default: ./gpu-check); parts add to what is there
#   GPU_CHECK_SECONDS    seconds of one call, 480 by default; "all" divides them among its parts
#   SATURN_TEST_DEVICES  the devices to test, cuda:0 by default; the first one is benched and trained on
#   GPU_CHECK_CIFAR10       folder of the binary version of CIFAR-10; without it nothing is trained
#   GPU_CHECK_EPOCHS        15 by default; GPU_CHECK_WIDTH: 64; GPU_CHECK_PRECISION: bf16, tf32 or fp32; GPU_CHECK_TRAIN: further or other options of "saturn train"
#   SATURN_PEER_PYTHON   the interpreter that can import torch; python3 by default
#   SATURN_NVRTC         NVRTC, where it is neither in the CUDA folders nor on the loader's path nor in the Python packages
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
part=all
case ${1:-} in
    all | tests | kernels | steps | compare | train)
        part=$1
        shift
        ;;
    -*)
        echo "usage: gpu-check.sh [all|tests|kernels|steps|compare|train] [OUT]" >&2
        exit 2
        ;;
esac

out=${1:-gpu-check}
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ "$part" = all ] && rm -f "$out"/*.json "$out"/*.jsonl "$out"/*.txt "$out"/compare.*
exec > >(tee -a "$out/log.txt") 2>&1

if [ -x "$here/app/Saturn.Tests" ]; then
    saturn=("$here/app/saturn")
    tests=("$here/app/Saturn.Tests")
else
    bin="$here/../artifacts/bin"
    saturn=(dotnet "$bin/Saturn.Cli/release/saturn.dll")
    tests=(dotnet "$bin/Saturn.Tests/release/Saturn.Tests.dll")
fi

export SATURN_TEST_DEVICES=${SATURN_TEST_DEVICES:-cuda:0}
# Results bring a cache of their own; what tools/install-nvrtc.sh has put into the usual one is found all the same.
usual_nvrtc=${SATURN_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/saturn}/nvrtc
[ -z "${SATURN_NVRTC:-}" ] && [ -d "$usual_nvrtc" ] && export SATURN_NVRTC="$usual_nvrtc"
export SATURN_CACHE_DIR=${SATURN_CACHE_DIR:-$out/cache}
export SATURN_PEER_PYTHON=${SATURN_PEER_PYTHON:-$(command -v python3)}
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
device=${SATURN_TEST_DEVICES%%,*}
device=${device%% *}
precisions=(fp32)
[ "$device" = cpu ] || precisions=(bf16 tf32 fp32)

# Python packages that bring NVRTC are found through the environment that they are installed in.
if [ -z "${VIRTUAL_ENV:-}" ] && [ -n "$SATURN_PEER_PYTHON" ]; then
    VIRTUAL_ENV=$("$SATURN_PEER_PYTHON" -c 'import sys; print(sys.prefix)') && export VIRTUAL_ENV
fi

begin=$SECONDS
budget=${GPU_CHECK_SECONDS:-480}
left() { echo $((budget - (SECONDS - begin) > 5 ? budget - (SECONDS - begin) : 5)); }
# Seconds of a part, in per cent of the budget where all parts run.
share() { [ "$part" = all ] && echo $((budget * $1 / 100)) || echo $((budget - 10)); }
at_most() { local rest; rest=$(left); echo $((rest < $1 ? rest : $1)); }
declare -A codes

run_tests() {
    echo "== tests on $SATURN_TEST_DEVICES"
    rm -f "$out/tests.jsonl" "$out/tests.json"
    # Device names consist of letters, digits, colons and underscores, of which no regular expression makes anything else. A fixture may add a precision ("cuda:0 bf16") or another word behind the name
    # ("cpu 256-bit", "emulated:sm_90a").
    local names=${SATURN_TEST_DEVICES//, /,}
    names=${names//,/|}
    # These read the checkout or start the SDK.
    local checkout='The_page_of_kernel_resources|Processes_that_compile_at_once'
    local limit end tested=3
    limit=$(share 50)
    end=$((SECONDS + limit))
    # A kernel that hangs or loses the context ends the process; the next one goes on behind it.
    for _ in 1 2 3 4 5 6 7 8; do
        timeout -k 10 "$(at_most "$limit")" "${tests[@]}" --match "\\(\"($names)([ :,][-a-z0-9_]+)*\"" --skip "$checkout" \
            --seconds $((end - SECONDS > limit / 5 + 1 ? end - SECONDS - limit / 5 : 1)) --log "$out/tests.jsonl" --results "$out/tests.json"
        tested=$?
        [ "$tested" -gt 2 ] && [ "$SECONDS" -lt $((end - 10)) ] || break
    done
    codes[tests]=$tested
    echo "exit code $tested"
}

bench() {
    local name=$1 limit=$2
    shift 2
    echo "== bench $name"
    timeout -k 10 "$(at_most "$limit")" "${saturn[@]}" bench "$@" --device "$device" --json "$out/benches.jsonl"
    codes[$name]=$?
    echo "exit code ${codes[$name]}"
}

run_kernels() {
    local end each seconds precision tables=${#precisions[@]}
    end=$((SECONDS + $(share 15)))
    # Warpgroups multiply on compute capability 9.0 alone.
    local warpgroups
    warpgroups=$([[ $device == *:sm_90a ]] || grep "^device $device:" <<< "$information" | grep -q sm_90 && echo 1 || echo 0)
    tables=$((tables + warpgroups))
    bench launches $(((end - SECONDS) / (tables + 1))) launches
    # What one table leaves over is the next ones'.
    if [ "$warpgroups" = 1 ]; then
        each=$(((end - SECONDS) / tables))
        bench wgmma "$each" wgmma --rounds 2 --repetitions 10 --seconds $((each > 20 ? each - 15 : each / 2))
        tables=$((tables - 1))
    fi

    for precision in "${precisions[@]}"; do
        each=$(((end - SECONDS) / tables))
        tables=$((tables - 1))
        seconds=$((each > 20 ? each - 15 : each / 2))
        if [ "$device" = cpu ]; then
            bench kernels-fp32 "$each" kernels --no-peer --rounds 1 --batch 1 --filter 37
        else
            bench "kernels-$precision" "$each" kernels --no-peer --rounds 2 --repetitions 10 --seconds "$seconds" --precision "$precision"
        fi
    done
}

run_steps() {
    local end each precision tables=${#precisions[@]} options=(--repetitions 5)
    end=$((SECONDS + $(share 10)))
    # The emulator interprets: small models only.
    [[ $device == emulated* ]] && options=(--width 4 --batch 1 --model resnet18 --repetitions 1)
    for precision in "${precisions[@]}"; do
        each=$(((end - SECONDS) / tables))
        tables=$((tables - 1))
        if [ "$device" = cpu ]; then
            bench steps-fp32 "$each" steps --no-peer --rounds 1 --filter "width 16"
        else
            bench "steps-$precision" "$each" steps --no-peer --rounds 2 --seconds $((each * 3 / 4)) --precision "$precision" "${options[@]}"
        fi
    done
}

run_compare() {
    echo "== beside PyTorch"
    if ! "$SATURN_PEER_PYTHON" -c 'import torch' 2>/dev/null; then
        echo "skipped: $SATURN_PEER_PYTHON cannot import torch; name an interpreter that can in SATURN_PEER_PYTHON"
        return
    fi

    if [ "$device" = cpu ]; then
        echo "skipped: the comparison needs a GPU, or the emulated one to try it out"
        return
    fi

    local options=()
    [[ $device == emulated* ]] && options=(COMPARE_STEP_OPTIONS="--width 4 --batch 1" COMPARE_ROUNDS=1 COMPARE_REPETITIONS=1)
    env COMPARE_DEVICE="$device" COMPARE_PARTS="steps kernels" ${options[@]+"${options[@]}"} "$here/compare-gpu.sh" "$out" "$(at_most "$(share 15)")"
    codes[compare]=$?
}

# One run: begun, or gone on with where it is there already. Its time is over at an interrupt, which leaves a checkpoint.
train_one() {
    local name=$1 limit=$2
    shift 2
    local usual=(--data "cifar10:$GPU_CHECK_CIFAR10" --model resnet18 --width "${GPU_CHECK_WIDTH:-64}" --epochs "${GPU_CHECK_EPOCHS:-15}" --batch 128 --optimizer adam --lr 0.005 --lr-schedule onecycle
        --weight-decay 5e-4 --seed 0 --device "$device" "$@")
    [ "$device" = cpu ] || usual+=(--precision "${GPU_CHECK_PRECISION:-bf16}" --graph auto)
    local options=() i
    # Pairs of an option and its value; those that GPU_CHECK_TRAIN has are its.
    for ((i = 0; i < ${#usual[@]}; i += 2)); do
        [[ " ${GPU_CHECK_TRAIN:-} " == *" ${usual[i]} "* ]] || options+=("${usual[@]:i:2}")
    done
    local more
    read -ra more <<< "${GPU_CHECK_TRAIN:-}"
    options+=(${more[@]+"${more[@]}"})
    [ -f "$out/runs/$name/summary.json" ] && { echo "$name is finished"; return; }
    [ -d "$out/runs/$name/checkpoint" ] && options=(--resume)
    echo "-- $name, $limit s"
    timeout -s INT -k 30 "$limit" "${saturn[@]}" train --run "$name" --runs "$out/runs" "${options[@]}" > "$out/train-$name.txt" 2>&1
    local code=$?
    tail -n 4 "$out/train-$name.txt"
    # 124 and 130: interrupted when the time was over, as planned.
    case $code in 0 | 124 | 130) ;; *) codes[train]=$code ;; esac
}

run_train() {
    echo "== ResNet-18 on CIFAR-10"
    if [ -z "${GPU_CHECK_CIFAR10:-}" ]; then
        echo "skipped: GPU_CHECK_CIFAR10 names no folder with the binary version of CIFAR-10"
        return
    fi

    local end each strength
    codes[train]=0
    end=$((SECONDS + $(share 10)))
    local runs=(dense 0.005 0.01 0.02) i
    for i in 0 1 2 3; do
        # What one run leaves over is the next one's.
        each=$(((end - SECONDS) / (4 - i)))
        [ "$each" -ge 10 ] || { echo "no time left for ${runs[$i]}"; break; }
        strength=${runs[$i]}
        if [ "$strength" = dense ]; then
            train_one dense $((each - 5))
        else
            train_one "demp-$strength" $((each - 5)) --lambda "$strength" --noise-std 5e-5 --prune-every 1000
        fi
    done
    summarise_training
}

# Accuracy, sparsity and speed at the first and the last epoch of each run, from its metrics.
summarise_training() {
    local name metrics field first last
    {
        echo "| run | epochs | validation accuracy | neuron sparsity | weight sparsity | images/s, first epoch | images/s, last epoch |"
        echo "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        for metrics in "$out"/runs/*/metrics.jsonl; do
            [ -s "$metrics" ] || continue
            name=$(basename "$(dirname "$metrics")")
            first=$(head -n 1 "$metrics") last=$(tail -n 1 "$metrics")
            field() { sed -E "s/.*\"$2\":([-+0-9.eE]+).*/\1/" <<< "$1"; }
            printf '| %s | %s | %.4f | %.4f | %.4f | %.0f | %.0f |\n' "$name" "$(field "$last" epoch)" "$(field "$last" validation_accuracy)" "$(field "$last" neuron_sparsity)" \
                "$(field "$last" weight_sparsity)" "$(field "$first" images_per_second)" "$(field "$last" images_per_second)"
        done
    } | tee "$out/training.md"
}

echo "== machine"
command -v nvidia-smi >/dev/null && nvidia-smi
information=$("${saturn[@]}" info)
codes[info]=$?
echo "$information"
stop() { echo "$1" >&2; exit 2; }
# Without these every test and bench would fail one by one, for the same reason.
grep -q "^device ${device%:sm_90a}:" <<< "$information" || stop "There is no device $device; see above what was searched, or name another one in SATURN_TEST_DEVICES."
[ "$device" = cpu ] || grep -q '^NVRTC [0-9.]*:' <<< "$information" || stop "There is no NVRTC, without which no kernel runs; see above where it was searched, and name it in SATURN_NVRTC."

for one in tests kernels steps compare train; do
    if [ "$part" = all ] || [ "$part" = "$one" ]; then
        "run_$one"
    fi
done

result="$out/results.json"
[ "$part" = all ] || result="$out/results-$part.json"
exit_codes=""
for name in "${!codes[@]}"; do
    exit_codes="$exit_codes${exit_codes:+, }\"$name\": ${codes[$name]}"
done
joined() { [ -f "$1" ] && paste -sd, "$1"; }
cat > "$result" <<JSON
{
"part": "$part",
"device": "$device",
"seconds": $((SECONDS - begin)),
"exitCodes": { $exit_codes },
"tests": $([ -f "$out/tests.json" ] && cat "$out/tests.json" || echo null),
"benches": [ $(joined "$out/benches.jsonl") ],
"compare": [ $(joined "$out/compare.jsonl") ]
}
JSON
echo "== $((SECONDS - begin)) seconds; $result"
for name in "${!codes[@]}"; do
    [ "${codes[$name]}" -eq 0 ] || exit 1
done
