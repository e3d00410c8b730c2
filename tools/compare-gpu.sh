#!/usr/bin/env bash
# Races Saturn against PyTorch, eager and compiled, on one GPU in interleaved rounds, from an unpacked bundle (tools/bundle.sh) or a built checkout, inside a time budget. By default: training steps of
# ResNet-18 alone (dense and at fewer channels), then Saturn's two kinds of bf16 convolutions, then all kernels with eager PyTorch alone, each in bf16, tf32 and fp32; not VGG-16 and ResNet-50.
#   compare-gpu.sh OUT [SECONDS]      SECONDS: 480 by default; what does not fit is left out, and the tables say so
# OUT receives compare.jsonl (one line of JSON a table), compare.md (the same for docs/results/gpu.md), compare.log (every row as it was measured), clocks.csv (clock, power and temperature).
#   COMPARE_DEVICE      cuda:0 by default
#   COMPARE_PARTS       "steps wgmma kernels" by default, in this order; wgmma races Saturn's two kinds of bf16 convolutions with each other, on a GPU of compute capability 9.0
#   COMPARE_PRECISIONS  "bf16 tf32 fp32" by default, in this order
#   COMPARE_MODELS      "resnet18" by default, that model alone; resnet18,vgg16,resnet50 where there is time
#   COMPARE_FILTER      only kernels whose name or family contains one of these words (with commas between them)
#   COMPARE_COMPILED    1: also compile single kernels, which takes long; steps are always compiled
#   COMPARE_ROUNDS, COMPARE_REPETITIONS   5 and 30 by default
#   COMPARE_STEP_OPTIONS further options of "saturn bench steps", such as "--width 8 --batch 2", to try the script out
#   SATURN_PEER_PYTHON  the interpreter that can import torch; python3 by default
set -uo pipefail

if [ $# -lt 1 ]; then
    echo "usage: compare-gpu.sh OUT [SECONDS]" >&2
    echo "By default steps of ResNet-18 alone, warps against warpgroups, and all kernels, in bf16, tf32 and fp32; COMPARE_MODELS=resnet18,vgg16,resnet50 adds the other models. The variables stand in the script's first lines." >&2
    exit 2
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
budget=${2:-480}
device=${COMPARE_DEVICE:-cuda:0}
if [ -x "$here/app/saturn" ]; then
    saturn=("$here/app/saturn")
else
    saturn=(dotnet "$here/../artifacts/bin/Saturn.Cli/release/saturn.dll")
fi

export SATURN_PEER_PYTHON=${SATURN_PEER_PYTHON:-$(command -v python3)}
# Results bring a cache of their own; what tools/install-nvrtc.sh has put into the usual one is found all the same.
usual_nvrtc=${SATURN_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/saturn}/nvrtc
[ -z "${SATURN_NVRTC:-}" ] && [ -d "$usual_nvrtc" ] && export SATURN_NVRTC="$usual_nvrtc"
export SATURN_CACHE_DIR=${SATURN_CACHE_DIR:-$out/cache}
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
# What PyTorch has compiled once is there for the next call.
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$out/inductor}
if [ -z "${VIRTUAL_ENV:-}" ] && [ -n "$SATURN_PEER_PYTHON" ]; then
    VIRTUAL_ENV=$("$SATURN_PEER_PYTHON" -c 'import sys; print(sys.prefix)') && export VIRTUAL_ENV
fi

begin=$SECONDS
left() { echo $((budget - (SECONDS - begin))); }

clocks=
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu,utilization.gpu --format=csv -l 5 > "$out/clocks.csv" 2>/dev/null &
    clocks=$!
    trap 'kill "$clocks" 2>/dev/null' EXIT
fi

read -ra parts <<< "${COMPARE_PARTS:-steps wgmma kernels}"
read -ra precisions <<< "${COMPARE_PRECISIONS:-bf16 tf32 fp32}"

# Warpgroups multiply on compute capability 9.0 alone, and Saturn has them multiply bf16 alone.
jobs=()
for part in "${parts[@]}"; do
    for precision in "${precisions[@]}"; do
        if [ "$part" != wgmma ]; then
            jobs+=("$part $precision")
        elif [ "$precision" != bf16 ]; then
            continue
        elif [[ $device == *sm_90a ]] || "${saturn[@]}" info | grep "^device $device:" | grep -q sm_90; then
            jobs+=("$part $precision")
        else
            echo "wgmma skipped: $device is not of compute capability 9.0" | tee -a "$out/compare.log"
        fi
    done
done

tables=${#jobs[@]}
failed=0
for job in "${jobs[@]}"; do
    read -r part precision <<< "$job"
    rest=$(left)
    if [ "$rest" -lt 15 ]; then
        echo "no time left for $part in $precision" | tee -a "$out/compare.log"
        tables=$((tables - 1))
        continue
    fi

    # The first tables matter most: each gets up to twice an even share, and a minute where there is one, since less measures nothing. No row is begun in the last part, which a compilation may still need.
    share=$((rest * 2 / (tables + 1)))
    [ "$share" -lt 60 ] && share=60
    [ "$share" -gt "$rest" ] && share=$rest
    tables=$((tables - 1))
    options=(--device "$device" --rounds "${COMPARE_ROUNDS:-5}" --repetitions "${COMPARE_REPETITIONS:-30}" --markdown --json "$out/compare.jsonl")
    if [ "$part" = wgmma ]; then
        options+=(--seconds $((share * 9 / 10 - 5)))
    elif [ "$part" = steps ]; then
        read -ra more <<< "${COMPARE_STEP_OPTIONS:-}"
        options+=(--compiled --seconds $((share / 2)) --patience $((share / 2 - 2)) --model "${COMPARE_MODELS:-resnet18}" "${more[@]}")
    elif [ "${COMPARE_COMPILED:-0}" = 1 ]; then
        options+=(--compiled --seconds $((share / 2)) --patience $((share / 2 - 2)))
    else
        options+=(--seconds $((share * 9 / 10 - 5)) --patience $((share / 10 + 5)))
    fi

    [ "$part" = wgmma ] || options+=(--precision "$precision")
    [ "$part" != steps ] && [ -n "${COMPARE_FILTER:-}" ] && options+=(--filter "$COMPARE_FILTER")
    echo "== $part in $precision, $share s" | tee -a "$out/compare.log"
    timeout -k 5 "$share" "${saturn[@]}" bench "$part" "${options[@]}" 2>> "$out/compare.log" >> "$out/compare.md"
    code=$?
    [ "$code" -eq 0 ] || { tail -n 1 "$out/compare.log"; echo "exit code $code" | tee -a "$out/compare.log"; failed=1; }
done

echo "== $((SECONDS - begin)) seconds; $out/compare.md, $out/compare.jsonl, $out/compare.log"
exit "$failed"
