#!/usr/bin/env bash
# Installs NVRTC, which compiles CUDA kernels at run time, into Saturn's cache folder. It needs no GPU, no driver and no root.
# On Debian and its relatives the library comes from the non-free component of the mirror that this machine already uses, through an apt configuration of its own: the system's sources, lists and
# packages stay as they are. SATURN_CACHE_DIR chooses another cache folder; SATURN_NVRTC names an NVRTC that is elsewhere.
set -euo pipefail

cache=${SATURN_CACHE_DIR:-}
if [ -z "$cache" ] || [ "$cache" = off ]; then
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/saturn
fi

target=$cache/nvrtc

# Complete where the library and its companion are: both are moved in at once.
present() { compgen -G "$1/libnvrtc.so.*" >/dev/null && compgen -G "$1/libnvrtc-builtins.so.*" >/dev/null; }

if present "$target"; then
    echo "NVRTC is there: $(cd "$target" && ls libnvrtc.so.*.*.* | tail -n 1) in $target."
    exit 0
fi

advise() {
    echo "error: $1" >&2
    echo "Install NVRTC 11.8, 12 or 13 in another way: the CUDA toolkit (its cuda-nvrtc package is enough), or the Python package nvidia-cuda-nvrtc-cu12. Saturn looks in the usual folders of both; or name" >&2
    echo "the library or its folder in SATURN_NVRTC." >&2
    exit 1
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || advise "this script knows apt only."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || advise "$keyring is missing, so Debian's packages cannot be verified."

# The archive's main mirror, as the system's own sources name it, whether or not its lists were ever fetched.
mirror=$(apt-get update --print-uris 2>/dev/null | sed -nE "s#^'(.*/debian)/dists/.*#\1#p" | head -n 1 || true)
[ -n "$mirror" ] || advise "no Debian mirror is named in this machine's apt sources."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/empty" "$work/packages" "$work/files"

own_apt() {
    apt-get -q -o Dir::State="$work/state" -o Dir::State::lists="$work/state/lists" -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/empty" \
        -o Dir::Etc::preferencesparts="$work/empty" -o APT::Sandbox::User="$(id -un)" -o APT::Get::List-Cleanup=false -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# fetch SUITE PACKAGE...: downloads and unpacks; apt checks signatures and hashes.
fetch() {
    local suite=$1
    shift
    echo "deb [signed-by=$keyring] $mirror $suite non-free" >"$work/sources.list"
    echo "Fetching $* ($suite) from $mirror ..."
    own_apt update && (cd "$work/packages" && own_apt download "$@") || return 1
    local package
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/files" || return 1
    done
}

fetch trixie libnvrtc12 libnvrtc-builtins12.4 || { rm -f "$work"/packages/*; fetch bookworm libnvrtc11.2 libnvrtc-builtins11.8; } || advise "the download from $mirror failed."

# Beside the target, so that the last step is a rename: nobody ever sees half an installation.
mkdir -p "$cache"
staging=$(mktemp -d "$cache/nvrtc.XXXXXX")
trap 'rm -rf "$work" "$staging"' EXIT
find "$work/files" -name 'libnvrtc*.so.*' -exec mv -t "$staging" {} +
present "$staging" || advise "the packages do not hold what was expected: $(find "$work/files" -name '*.so*' | tr '\n' ' ')"
chmod 755 "$staging"
if [ -e "$target" ]; then
    mv -T "$target" "$staging/replaced" 2>/dev/null || true
fi

mv -T "$staging" "$target" 2>/dev/null || present "$target" || advise "$target could not be written."
rm -rf "$target/replaced"
echo "NVRTC is installed: $(cd "$target" && ls libnvrtc.so.*.*.* | tail -n 1) in $target."
