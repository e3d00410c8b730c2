#!/usr/bin/env bash
# Installs the peers that the benches race against: PyTorch for the CPU, from the Debian or Ubuntu archive, for /usr/bin/python3.
# Any other interpreter that can import torch works as well: name it in SATURN_PEER_PYTHON and leave this script alone.
set -euo pipefail

if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    echo "PyTorch $(/usr/bin/python3 -c 'import torch; print(torch.__version__)') is already there for /usr/bin/python3."
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    echo "This script knows apt only. Install PyTorch another way and name the interpreter in SATURN_PEER_PYTHON." >&2
    exit 1
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "Installing packages needs root: run 'sudo $0', or name an interpreter that has torch in SATURN_PEER_PYTHON." >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends python3 python3-torch libopenblas0
/usr/bin/python3 -c 'import torch; print("PyTorch", torch.__version__, "is ready.")'
