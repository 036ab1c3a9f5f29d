#!/bin/sh
# Prints a Python interpreter that can import the packages of a peer, after installing them if they are not there.
#
# usage: install.sh torch|tensorflow|dali|ffcv|spdl
#
# Everything goes into ${XDG_CACHE_HOME:-$HOME/.cache}/sutler/peers (4 GB in all), each in a directory of its own. Needs
# python3 with pip; torch a C compiler as well; ffcv a C++ compiler, Python's headers, apt-get and dpkg.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/sutler/peers"

# What each peer does when `$partial` is there, and will be `$home`: installs packages, and adds to the search paths.
python_path=packages
library_path=

packages() {
    python3 -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check --root-user-action=ignore \
        --target "$partial/packages" "$@" >&2
}

torch() {
    # Without the packages that it asks for, which are 3 GB of CUDA. It is linked to their libraries, so empty ones stand
    # in for them, whose functions are looked up when they are called, which nothing does here.
    packages --no-deps torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 torchvision==0.26.0
    packages numpy==2.4.6 pillow==13.0.0 filelock fsspec jinja2 networkx setuptools==81.0.0 sympy typing_extensions
    for library in libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12 libcufile.so.0 libcurand.so.10 \
        libcusparse.so.12 libcusparseLt.so.0 libnccl.so.2 libnvshmem_host.so.3; do
        case $library in
            libnvshmem*) symbols=NVSHMEM ;;
            *) symbols=$library ;;
        esac
        echo "$symbols {};" >"$partial/version"
        cc -shared -x c /dev/null -Wl,-soname,"$library" -Wl,--version-script,"$partial/version" \
            -o "$partial/packages/torch/lib/$library"
    done
    printf 'import os\nimport sys\n\nsys.setdlopenflags(os.RTLD_LAZY)\n' >"$partial/packages/sitecustomize.py"
}

tensorflow() {
    packages tensorflow-cpu==2.21.0
}

dali() {
    packages nvidia-dali-cuda130==2.4.0
}

ffcv() {
    torch=$("$here/install.sh" torch)
    # The libraries that it is built with, unpacked from Debian's packages: those that the system doesn't have.
    missing=$(apt-get install --simulate --no-install-recommends g++ libopencv-imgproc-dev libturbojpeg0-dev |
        sed -n 's/^Inst \([^ ]*\).*/\1/p')
    root=$partial/debian
    mkdir "$root"
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # one argument a package
        (cd "$root" && apt-get download -qq $missing >&2 && for package in *.deb; do dpkg -x "$package" .; done)
        rm "$root"/*.deb
    fi
    # FFCV includes all of OpenCV, and uses cv::resize. It asks pkg-config where that is.
    mkdir -p "$partial/build/opencv2"
    printf '#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n' >"$partial/build/opencv2/opencv.hpp"
    machine=$(cc -print-multiarch)
    printf '#!/bin/sh\necho %s\n' "-I$partial/build -I$root/usr/include -I$root/usr/include/$machine \
-I$root/usr/include/opencv4 -I/usr/include/opencv4 -L$root/usr/lib/$machine \
-lopencv_core -lopencv_imgproc -lturbojpeg" >"$partial/build/pkg-config"
    chmod +x "$partial/build/pkg-config"
    PATH="$partial/build:$PATH" packages --no-deps ffcv==1.0.2
    packages --no-deps assertpy llvmlite==0.50.0 numba==0.68.1 opencv-python-headless==5.0.0.93 psutil tqdm
    rm -r "$partial/build"
    python_path="packages ${torch%/python}/packages"
    library_path="debian/usr/lib/$machine debian/usr/lib/$machine/blas debian/usr/lib/$machine/lapack"
}

spdl() {
    packages --no-deps spdl-core==0.8.0 spdl-io==0.8.0 av==18.1.0 numpy==2.4.6
    # It looks for FFmpeg's libraries by their usual names; PyAV's wheel has them, under names of its own.
    mkdir "$partial/ffmpeg"
    for library in "$partial"/packages/av.libs/lib*; do
        name=$(basename "$library")
        ln -s "../packages/av.libs/$name" \
            "$partial/ffmpeg/$(echo "$name" | sed -E 's/-[0-9a-f]{8}(\.so\.[0-9]+).*/\1/')"
    done
    library_path="ffmpeg packages/av.libs"
}

# A search path of directories in `$home`, or elsewhere.
search() {
    path=
    for directory in "$@"; do
        case $directory in
            /*) ;;
            *) directory=$home/$directory ;;
        esac
        path=$path${path:+:}$directory
    done
    echo "$path"
}

case "${1:-}" in
    torch) home=$cache/torch-2.11.0 ;;
    tensorflow) home=$cache/tensorflow-2.21.0 ;;
    dali) home=$cache/dali-2.4.0 ;;
    ffcv) home=$cache/ffcv-1.0.2 ;;
    spdl) home=$cache/spdl-0.8.0 ;;
    *)
        echo "usage: install.sh torch|tensorflow|dali|ffcv|spdl" >&2
        exit 1
        ;;
esac
if [ ! -e "$home" ]; then
    echo "installing $(basename "$home") into $cache" >&2
    mkdir -p "$cache"
    # Made beside its place and moved there whole, so that what failed halfway is never taken for installed.
    partial=$(mktemp -d "$home.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    chmod 755 "$partial" # apt fetches as a user of its own
    "$1"
    # shellcheck disable=SC2086 # one argument a directory
    cat >"$partial/python" <<END
#!/bin/sh
export PYTHONNOUSERSITE=1 PYTHONPATH='$(search $python_path)' LD_LIBRARY_PATH='$(search $library_path)'
exec python3 "\$@"
END
    chmod +x "$partial/python"
    mv "$partial" "$home"
fi
echo "$home/python"
