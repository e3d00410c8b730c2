#!/usr/bin/env bash
# Packs the command line, the tests and the benches with one .NET runtime for Linux x64: for machines that have a GPU but no SDK and no network.
# There, unpack it and run saturn/gpu-check.sh. NVRTC is not part of it; it comes with the machine's CUDA toolkit or Python packages.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: tools/bundle.sh OUT.tar.xz" >&2
    exit 2
fi

out=$(realpath -m "$1")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
limit=$((38 * 1024 * 1024))
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
app="$staging/saturn/app"

for project in tools/Saturn.Cli Saturn.Tests; do
    echo "publishing $project"
    if ! log=$(dotnet publish "$root/$project" -c Release -r linux-x64 --self-contained true -p:UseAppHost=true -o "$app" -v quiet --nologo 2>&1); then
        echo "$log" >&2
        exit 1
    fi
done

# Documentation and code coverage are of no use there; symbols stay for the line numbers of failures.
rm -rf "$app"/*.xml "$app/Microsoft.CodeCoverage" "$app/createdump"
cp "$root/tools/gpu-check.sh" "$root/tools/compare-gpu.sh" "$root/LICENSE" "$staging/saturn/"

echo "packing"
mkdir -p "$(dirname "$out")"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$staging" -cf - saturn | xz -9 -T1 > "$out.partial"
mv "$out.partial" "$out"
size=$(stat -c %s "$out")
echo "$out: $((size / 1024)) KiB"
if [ "$size" -gt "$limit" ]; then
    echo "The bundle is larger than $((limit / 1024 / 1024)) MiB." >&2
    exit 1
fi
