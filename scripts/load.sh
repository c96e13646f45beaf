#!/usr/bin/env bash
# Runs every script of k6/ and of scripts/autocannon/ for seconds against a real `stampede dev`. A threshold that fails, a unit
# that was sold twice, or Redis and the archive telling different things, fails it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

SECONDS_EACH=5
# A debug build, on a machine that does other things too: what is tested is the suites, not how fast this machine is.
LATENCY_SLACK=50
CONNECTIONS=20

usage() {
  say "usage: ./scripts/load.sh [--seconds N]"
  say "Installs what is missing, builds Stampede, tests the suites' own checks, and runs each load suite for about N seconds"
  say "($SECONDS_EACH if it is not said). To measure something, run the suites against a release build: k6/README.md says how."
}

while [ $# != 0 ]; do
  case $1 in
    --seconds) SECONDS_EACH=${2:-} && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift || { usage >&2 && exit 2; }
done
case "$SECONDS_EACH" in
  "" | 0 | *[!0-9]*) usage >&2 && exit 2 ;;
esac

STAMPEDE=${CARGO_TARGET_DIR:-$PWD/target}/debug/stampede
WORK=""

# Stops what was started, and leaves nothing behind.
clean_up() {
  abandon_dev
  [ -z "$WORK" ] || rm -rf "$WORK"
}
trap clean_up EXIT

# stampede ARGUMENT…: about the service that was started.
stampede() { "$STAMPEDE" --dir "$WORK/dev" "$@"; }

# suite TOOL SCRIPT UNITS [OPTION…]: makes a drop of so many units, with these options, and runs a script against it.
suite() {
  local tool=$1 script=$2 units=$3
  shift 3
  export SKU=$tool-$script
  stampede seed --api-url "$ORIGIN" --sku "$SKU" --units "$units" "$@" >/dev/null
  say "" "-- $tool $script --"
  case $tool in
    k6) k6 run --quiet --no-usage-report --address 127.0.0.1:0 "k6/$script.js" ;;
    autocannon) ./scripts/autocannon/run.sh "$script" ;;
  esac
}

# The three ways in which shoppers get tokens take turns. The stocks are such that some drops sell out and some do not.
run_suites() {
  local tokens=$WORK/tokens.txt secret
  stampede token --shoppers $((100 * SECONDS_EACH + 100)) --out "$tokens"
  secret=$(sed -n 's/^token_secret = "\(.*\)"$/\1/p' "$WORK/dev/settings.toml")
  OPERATOR_TOKEN=$(stampede token --operator)
  export API_URL=$ORIGIN DURATION=${SECONDS_EACH}s OPERATOR_TOKEN LATENCY_SLACK CONNECTIONS

  RATE=200 suite k6 sale-status 100
  RATE=100 TOKENS=$tokens suite k6 create-order $((50 * SECONDS_EACH))
  RATE=60 suite k6 mixed-sale $((10 * SECONDS_EACH)) --starts-in 1s --cancellable-for-s 600
  RATE=100 TOKEN_SECRET=$secret suite k6 spike 50
  RATE=20 suite k6 soak 100000 --limit 2 --cancellable-for-s 600
  suite autocannon get-sale-status 100
  suite autocannon get-product 100
  TOKEN_SECRET=$secret suite autocannon create-order 500
}

# The scripts succeed where all is well, and fail where a unit is sold twice: against a service that does so when it is asked.
test_checks() {
  say "Testing the checks of the suites (half a minute)."
  node --test k6/test/*.test.js >"$WORK/checks" 2>&1 || {
    cat "$WORK/checks" >&2
    die "the checks of the load suites do not hold"
  }
  grep -E '^# (tests|pass|fail) ' "$WORK/checks"
}

need compiler rust redis node k6
./scripts/autocannon/run.sh --install
say "Building Stampede."
cargo build --workspace --locked --bin stampede
WORK=$(mktemp -d)
test_checks
start_dev "$STAMPEDE" "$WORK"
run_suites
say "" "-- Redis and the archive --"
stampede reconcile
stop_dev "$WORK"
say "" "Every suite ran, and nothing was sold twice."
