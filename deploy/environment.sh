# Shell functions that deploy/demo, tests/run and .ci/run share: what a fresh Debian 12 lacks is installed, what it has is
# left alone. POSIX sh; read with `.`; the caller has set -eu and stands in the checkout. Whatever is set for pip and for
# proxies in the environment stays as it is. Words for people go to stderr.

say() {
    printf '%s\n' "$*" >&2
}

# Runs a command as root: directly, or with sudo. Without a terminal sudo may not ask for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && as_root true 2>/dev/null; }
}

# need_packages PACKAGE...: these Debian packages are installed, or the script ends saying what to ask for.
need_packages() {
    [ $# -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        say "This needs what Debian calls: $*. There is no apt-get here: please install the same by other means."
        exit 1
    fi
    if ! can_be_root; then
        say "These Debian packages are missing, and you are neither root nor allowed to use sudo:"
        say "    $*"
        say "Please ask the administrator to run:  apt-get install $*"
        exit 1
    fi
    say "Installing with apt-get: $* ..."
    tries=3
    until said=$(install_packages "$@" 2>&1); do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            say "$said"
            say "apt-get could not install: $*"
            exit 1
        fi
        sleep 5
    done
}

install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 \
            install --no-install-recommends -y "$@"
}

# need_python: python3 is there, is new enough, and can make an environment with pip in it.
need_python() {
    if ! command -v python3 >/dev/null 2>&1; then
        need_packages python3 python3-venv
    fi
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        say "Python 3.11 or newer is needed; this is $(python3 --version)."
        exit 1
    fi
    # Debian keeps ensurepip in python3-venv, and the certificates that pip trusts in ca-certificates.
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need_packages python3-venv ca-certificates
    fi
}

# state_of FILE-OR-FOLDER...: one line that changes when any of them does.
state_of() {
    find "$@" -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort -k 3 | cksum
}

# make_environment FOLDER LOCK...: FOLDER is a virtual environment that holds what the lock files say, each file checked
# against its hash. Nothing is done when it already does; one that was left half-made is made anew.
make_environment() {
    folder=$1
    shift
    # A copied or moved checkout counts as another one: the scripts of an environment know where it was made.
    state="$(state_of "$@") $(python3 -c 'import sys; print(sys.version)') $PWD"
    if [ -f "$folder/.made-from" ] && [ "$(cat "$folder/.made-from")" = "$state" ] &&
        "$folder/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    say "Making the environment $folder (some minutes the first time) ..."
    rm -rf "$folder"
    python3 -m venv "$folder"
    for lock in "$@"; do
        set -- "$@" --requirement "$lock"
        shift
    done
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@" >&2
    printf '%s' "$state" >"$folder/.made-from"
}
