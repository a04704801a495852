# Shared by the scripts of this folder: paths and messages. Sourced, never run.
# shellcheck shell=bash
# The variables set here are for the scripts that source it.
# shellcheck disable=SC2034

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/matriarch

if [ "$(id -u)" = 0 ]; then
    # Not under /root: PostgreSQL runs as an unprivileged user, who must reach it.
    home=${MATRIARCH_HOME:-/var/lib/matriarch}
else
    home=${MATRIARCH_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/matriarch}
fi

# The client with matrix-sdk is a workspace of its own, since only one test needs its many dependencies.
sdk_manifest=$root/tests/matrix-sdk/Cargo.toml
sdk_options=(--manifest-path "$sdk_manifest" --locked --target-dir "$target/matrix-sdk")

say() { printf '\n==> %s\n' "$*" >&2; }

die() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Whether packages can be installed with apt-get: root on Debian or a relative of it.
can_apt() { [ "$(id -u)" = 0 ] && have apt-get; }

# apt_install WHY PACKAGE...
apt_install() {
    say "Installing $(printf '%s ' "${@:2}")with apt-get: $1"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "${@:2}" >&2 ||
        { apt-get update >&2 && apt-get install -y --no-install-recommends "${@:2}" >&2; } ||
        die "apt-get could not install: ${*:2}"
}

# profile_dir PROFILE: where cargo puts what that profile builds.
profile_dir() {
    case $1 in
    dev) echo "$target/debug" ;;
    *) echo "$target/$1" ;;
    esac
}

# Sets the environment of a build, once: see scripts/env. Sets extension_features, options for cargo.
use_env() {
    local settings
    if [ -z "${EXTENSION_FEATURES:-}" ]; then
        settings=$("$root/scripts/env") || exit 1
        eval "$settings"
    fi
    read -ra extension_features <<<"$EXTENSION_FEATURES"
}
