# What the benches that compare builders share: times, medians, ratios, projects. Sourced after lib.sh, not run.

now() { date +%s%N; }
# median FILE: of all values but the first, which is of a round that warms up.
median() { tail -n +2 "$scratch/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# timed FILE COMMAND...: appends the microseconds that the command takes. `set -e` does not reach into it: a function says when it fails.
timed() {
    local file=$1 start
    shift
    start=$(now)
    "$@" >"$scratch/out" 2>&1 || { cat "$scratch/out" >&2; exit 1; }
    echo $((($(now) - start) / 1000)) >>"$scratch/$file"
}
# ratio NAME OURS THEIRS WANTED: how many times as long it takes them.
ratio() {
    awk -v name="$1" -v ours="$2" -v theirs="$3" -v wanted="$4" 'BEGIN {
        verdict = "MISSED"
        if (theirs / ours >= wanted) verdict = "met"
        printf "  %-34s %8.1f ms of %9.1f ms  1/%.1f (wanted 1/%s: %s)\n", name, ours / 1000, theirs / 1000, theirs / ours, wanted, verdict }'
}
project() {
    git init --quiet --initial-branch=main "$1"
    git -C "$1" config user.name Bench
    git -C "$1" config user.email bench@localhost
}
save() { git -C "$1" add --all && git -C "$1" commit --quiet --allow-empty --message bench; }
forget() {
    local image
    for image in $(docker image ls --quiet "$1" | sort -u); do
        docker rmi --force "$image" >/dev/null 2>&1 || true
    done
}
