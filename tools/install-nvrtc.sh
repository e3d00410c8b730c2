#!/usr/bin/env bash
# Installs NVRTC, which compiles CUDA kernels at run time, into Saturn's cache folder. It needs no GPU, no driver and no root.
# On Debian and its relatives the library comes from the non-free component of the mirror that this machine already uses, through an apt configuration of its own: the system's sources, lists and
# packages stay as they are. SATURN_CACHE_DIR chooses another cache folder; SATURN_NVRTC names an NVRTC that is elsewhere.
#   install-nvrtc.sh [--disassembler]     with the option also nvdisasm, which prints machine code: another 87 MB are downloaded, and one program of them is kept; SATURN_NVDISASM names one that is elsewhere
set -euo pipefail

wanted=(nvrtc)
case "$*" in
    "") ;;
    --disassembler) wanted=(nvrtc nvdisasm) ;;
    *)
        echo "usage: install-nvrtc.sh [--disassembler]" >&2
        exit 2
        ;;
esac

cache=${SATURN_CACHE_DIR:-}
if [ -z "$cache" ] || [ "$cache" = off ]; then
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/saturn
fi

# Complete where a library and its companion are: both are moved in at once.
present() {
    case $1 in
        nvrtc) compgen -G "$2/libnvrtc.so.*" >/dev/null && compgen -G "$2/libnvrtc-builtins.so.*" >/dev/null ;;
        nvdisasm) [ -x "$2/nvdisasm" ] ;;
    esac
}

describe() {
    case $1 in
        nvrtc) echo "NVRTC is $2: $(cd "$cache/nvrtc" && ls libnvrtc.so.*.*.* | tail -n 1) in $cache/nvrtc." ;;
        nvdisasm) echo "nvdisasm is $2: $("$cache/nvdisasm/nvdisasm" --version | sed -nE 's/.*(release [0-9.]+).*/\1/p') in $cache/nvdisasm." ;;
    esac
}

missing=()
for part in "${wanted[@]}"; do
    if present "$part" "$cache/$part"; then
        describe "$part" there
    else
        missing+=("$part")
    fi
done

[ ${#missing[@]} -gt 0 ] || exit 0

advise() {
    echo "error: $1" >&2
    case ${part:-nvrtc} in
        nvrtc)
            echo "Install NVRTC 11.8, 12 or 13 in another way: the CUDA toolkit (its cuda-nvrtc package is enough), or the Python package nvidia-cuda-nvrtc-cu12. Saturn looks in the usual folders of both; or name" >&2
            echo "the library or its folder in SATURN_NVRTC." >&2
            ;;
        nvdisasm)
            echo "Install nvdisasm in another way: the CUDA toolkit (its cuda-nvdisasm package is enough). Saturn looks on the PATH and in the toolkit's usual folders; or name the program or its folder in SATURN_NVDISASM." >&2
            ;;
    esac
    exit 1
}

part=${missing[0]}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || advise "this script knows apt only."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || advise "$keyring is missing, so Debian's packages cannot be verified."

# The archive's main mirror, as the system's own sources name it, whether or not its lists were ever fetched.
mirror=$(apt-get update --print-uris 2>/dev/null | sed -nE "s#^'(.*/debian)/dists/.*#\1#p" | head -n 1 || true)
[ -n "$mirror" ] || advise "no Debian mirror is named in this machine's apt sources."

work=$(mktemp -d)
staging=
trap 'rm -rf "$work" ${staging:+"$staging"}' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/empty" "$cache"

own_apt() {
    apt-get -q -o Dir::State="$work/state" -o Dir::State::lists="$work/state/lists" -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/empty" \
        -o Dir::Etc::preferencesparts="$work/empty" -o APT::Sandbox::User="$(id -un)" -o APT::Get::List-Cleanup=false -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

# fetch SUITE FILES PACKAGE...: downloads packages and moves those of their files whose names match into the staging folder; apt checks signatures and hashes.
fetch() {
    local suite=$1 files=$2
    shift 2
    rm -rf "$work/packages" "$work/files"
    mkdir -p "$work/packages" "$work/files"
    echo "deb [signed-by=$keyring] $mirror $suite non-free" >"$work/sources.list"
    echo "Fetching $* ($suite) from $mirror ..."
    own_apt update && (cd "$work/packages" && own_apt download "$@") || return 1
    local package
    for package in "$work"/packages/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/files" --wildcards --no-anchored "$files" || return 1
    done
    find "$work/files" -name "$files" -not -type d -exec mv -t "$staging" {} +
}

for part in "${missing[@]}"; do
    # Beside the target, so that the last step is a rename: nobody ever sees half an installation.
    target=$cache/$part
    staging=$(mktemp -d "$target.XXXXXX")
    case $part in
        nvrtc) fetch trixie 'libnvrtc*.so.*' libnvrtc12 libnvrtc-builtins12.4 || fetch bookworm 'libnvrtc*.so.*' libnvrtc11.2 libnvrtc-builtins11.8 ;;
        nvdisasm) fetch trixie nvdisasm nvidia-cuda-toolkit || fetch bookworm nvdisasm nvidia-cuda-toolkit ;;
    esac || advise "the download from $mirror failed."
    present "$part" "$staging" || advise "the packages do not hold what was expected, but: $(ls "$staging" | tr '\n' ' ')"
    chmod 755 "$staging"
    if [ -e "$target" ]; then
        mv -T "$target" "$staging/replaced" 2>/dev/null || true
    fi

    mv -T "$staging" "$target" 2>/dev/null || present "$part" "$target" || advise "$target could not be written."
    rm -rf "$target/replaced"
    describe "$part" installed
done
