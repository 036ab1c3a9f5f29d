# To be sourced (sh): sets LIBTORCH, after fetching libtorch into the cache folder if it is not there.
#
# A LIBTORCH or LIBTORCH_USE_PYTORCH that is set already wins. Otherwise the PyPI wheel of torch serves, which is
# libtorch with its headers; Python itself is not needed to build or run anything. Without an NVIDIA driver on this
# machine only the three wheels are fetched that the CPU half cannot do without (0.5 GB), else all of them (3 GB).

sutler_torch=2.11.0

sutler_fetch_libtorch() {
    if [ -e /proc/driver/nvidia/version ]; then
        kind=cuda
        set -- "torch==$sutler_torch"
    else
        kind=cpu
        set -- --no-deps "torch==$sutler_torch" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
    fi
    home="${XDG_CACHE_HOME:-$HOME/.cache}/sutler/libtorch-$sutler_torch-$kind"
    if [ ! -e "$home/complete" ]; then
        command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || {
            echo "libtorch is needed: install python3 and pip, or set LIBTORCH to a libtorch $sutler_torch" >&2
            return 1
        }
        echo "fetching libtorch $sutler_torch ($kind) into $home" >&2
        # Made beside its place and moved there whole, so that an interrupted download is never taken for a library.
        mkdir -p "${home%/*}"
        partial=$(mktemp -d "$home.XXXXXX") || return 1
        if ! python3 -m pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
            --root-user-action=ignore --target "$partial" "$@" >&2; then
            rm -rf "$partial"
            echo "cannot fetch libtorch: see pip's message above, or set LIBTORCH to a libtorch $sutler_torch" >&2
            return 1
        fi
        touch "$partial/complete"
        rm -rf "$home"
        mv "$partial" "$home"
    fi
    LIBTORCH="$home/torch"
    export LIBTORCH
}

if [ -n "${LIBTORCH:-}${LIBTORCH_USE_PYTORCH:-}" ]; then
    # Cargo runs build scripts in another directory.
    case "${LIBTORCH:-/}" in
        /*) ;;
        *) LIBTORCH=$(cd "$LIBTORCH" && pwd) && export LIBTORCH ;;
    esac
else
    sutler_fetch_libtorch
fi
