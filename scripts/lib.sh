# What the scripts share: installing what is missing, and servers on loopback that end with the script.
# Sourced, not run. Only what a script started itself is stopped by it.

set -euo pipefail

started=()
scratch=$(mktemp -d)

finish() {
    local status=$?
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '== %s\n' "$*" >&2; }

# need PROGRAM=PACKAGE...: installs the packages whose programs are missing.
need() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || [ -e "${pair%%=*}" ] || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "missing packages; run: sudo apt-get install -y ${missing[*]}"
        exit 1
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$scratch/apt.log" 2>&1 || {
        cat "$scratch/apt.log" >&2
        exit 1
    }
}

# What building slipway needs; the static programs become part of it.
need_to_build() {
    need git=git cc=build-essential protoc=protobuf-compiler \
        /usr/include/google/protobuf/descriptor.proto=libprotobuf-dev \
        /bin/busybox=busybox-static /bin/bash-static=bash-static
}

# The docker command line of the engine's own package, where another comes first in PATH.
docker() {
    if [ -x /usr/bin/docker ]; then /usr/bin/docker "$@"; else command docker "$@"; fi
}

engine_answers() { docker version >/dev/null 2>&1; }

# Starts a Docker engine unless one answers already.
need_engine() {
    engine_answers && return 0
    need dockerd=docker.io iptables=iptables
    say "starting dockerd"
    dockerd >"$scratch/dockerd.log" 2>&1 &
    started+=($!)
    local _
    for _ in $(seq 120); do
        engine_answers && return 0
        sleep 0.5
    done
    tail -20 "$scratch/dockerd.log" >&2
    say "dockerd did not come up"
    exit 1
}

free_port() {
    local port
    for port in $(seq 5100 5999); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    return 1
}

# Starts a registry on loopback; its address is in $registry.
start_registry() {
    local port
    port=$(free_port)
    registry=127.0.0.1:$port
    mkdir -p "$scratch/registry"
    cat >"$scratch/registry.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $scratch/registry}, delete: {enabled: true}}
http: {addr: $registry}
CONFIG
    say "starting a registry at $registry"
    docker-registry serve "$scratch/registry.yml" >"$scratch/registry.log" 2>&1 &
    started+=($!)
    local _
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
        sleep 0.1
    done
    cat "$scratch/registry.log" >&2
    exit 1
}

# Makes a small base image of Debian's static busybox, under the name given.
make_base_image() {
    docker image inspect "$1" >/dev/null 2>&1 && return 0
    say "making the base image $1"
    local root=$scratch/base applet
    mkdir -p "$root"/{bin,etc,tmp,root,var,usr/bin}
    cp /bin/busybox "$root/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\napp:x:1000:\n' >"$root/etc/group"
    tar -C "$root" --numeric-owner --owner=0 --group=0 -c . |
        docker import --change 'ENV PATH=/bin:/usr/bin' --change 'CMD ["/bin/sh"]' - "$1" >/dev/null
}
