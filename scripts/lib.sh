# What the scripts share: installing what is missing, and servers on loopback that end with the script.
# Sourced, not run. Only what a script started itself is stopped by it.

set -euo pipefail

# Disks of machines that test and measure may be full: nothing is cleaned meanwhile, nor in an engine that others use as well.
export SLIPWAY_DISABLE_AUTO_HOST_CLEANUP=1 SLIPWAY_ALLOWED_DOCKER_STORAGE_VOLUME_USAGE=100

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
    # A script may have more to clear away, if that can fail.
    ! declare -F clear_away >/dev/null || clear_away >/dev/null 2>&1 || true
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

# Fills a directory with a small root file system of Debian's static busybox.
fill_base() {
    local applet
    mkdir -p "$1"/{bin,etc,tmp,root,var,usr/bin}
    cp /bin/busybox "$1/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\napp:x:1000:\n' >"$1/etc/group"
}

# Makes a small base image in the engine, under the name given.
make_base_image() {
    docker image inspect "$1" >/dev/null 2>&1 && return 0
    say "making the base image $1"
    local root=$scratch/base
    fill_base "$root"
    tar -C "$root" --numeric-owner --owner=0 --group=0 -c . |
        docker import --change 'ENV PATH=/bin:/usr/bin' --change 'CMD ["/bin/sh"]' - "$1" >/dev/null
}

# Makes the same in a file that `docker load` reads, without an engine: FILE NAME.
make_base_archive() {
    say "making the base image $2 in $(basename "$1")"
    local root=$scratch/archived parts=$scratch/parts layer config arch
    case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
    esac
    mkdir "$parts"
    fill_base "$root"
    tar -C "$root" --numeric-owner --owner=0 --group=0 -cf "$parts/layer.tar" .
    layer=$(sha256sum "$parts/layer.tar" | cut -d' ' -f1)
    printf '{"os":"linux","architecture":"%s","config":{"Env":["PATH=/bin:/usr/bin"],"Cmd":["/bin/sh"]},%s}' "$arch" \
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}" >"$parts/config.json"
    config=$(sha256sum "$parts/config.json" | cut -d' ' -f1)
    mv "$parts/config.json" "$parts/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$2" >"$parts/manifest.json"
    tar -C "$parts" -cf "$1" layer.tar "$config.json" manifest.json
}
