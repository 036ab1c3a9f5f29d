#!/bin/sh
# Checks sutler's CUDA path on this machine: runs gpu_check, which lies beside this script, with the libtorch of this
# machine's own PyTorch 2.11. No Rust is needed. PYTHON chooses another python3; arguments go to gpu_check (--help).
#
# Exit code 0: all checks that must pass did; 1: one did not; 2: no CUDA device; 3: something is missing to run it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

missing() {
    echo "run.sh: $*" >&2
    exit 3
}

[ "$(uname -sm)" = "Linux x86_64" ] || missing "this is a program for Linux on x86-64, and this machine is $(uname -sm)"
command -v "$python" >/dev/null || missing "there is no $python: PYTHON=/path/to/python3 with torch 2.11"
"$python" -c 'import torch' 2>/dev/null ||
    missing "$(command -v "$python") cannot import torch: pip install torch==2.11.0, or PYTHON=/path/to/another/python3. It says:
$("$python" -c 'import torch' 2>&1 | tail -n 1)"

version=$("$python" -c 'import torch; print(torch.__version__)')
case $version in
2.11 | 2.11.* | 2.11+*) ;;
*) missing "torch 2.11 is needed, whose library interface this was built for; $(command -v "$python") has $version" ;;
esac
lib=$("$python" -c 'import torch, os; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')
[ -e "$lib/libtorch_cpu.so" ] || missing "torch has no libtorch_cpu.so in $lib"
[ -e "$lib/libtorch_cuda.so" ] ||
    echo "run.sh: this torch ($version) was built without CUDA: only --cpu will work" >&2

# Torch's libraries find NVIDIA's by themselves if all lie where pip put them; this is for the other cases.
path=$lib
for nvidia in "$lib"/../../nvidia/*/lib; do
    [ ! -d "$nvidia" ] || path=$path:$nvidia
done
export LD_LIBRARY_PATH="$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

# The loader's own words where a library is missing, or the system is older than the one this was built on.
said=$("$here/gpu_check" --help 2>&1) || missing "gpu_check does not start with $lib:
$said"

photos=
[ ! -d "$here/photos" ] || photos=$here/photos
exec "$here/gpu_check" ${photos:+--photos "$photos"} "$@"
