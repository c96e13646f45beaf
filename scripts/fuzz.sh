#!/usr/bin/env bash
# Sends requests made from the API's own description to a real `stampede dev`: as an operator, as a shopper, as nobody.
# An answer that the description does not have, or any 5xx, fails it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

MINUTES=1
SEED=$((RANDOM * 32768 + RANDOM))
# The status, content type, headers and body of each answer, and what the description says of wrong requests.
CHECKS=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
CHECKS=$CHECKS,response_schema_conformance,negative_data_rejection,unsupported_method

usage() {
  say "usage: ./scripts/fuzz.sh [--minutes N] [--seed N]"
  say "Installs what is missing, builds Stampede, and fuzzes its API for about N minutes (1 if it is not said)."
  say "A seed makes the same requests again; without one it is random, and printed."
}

while [ $# != 0 ]; do
  case $1 in
    --minutes) MINUTES=${2:-} && shift ;;
    --seed) SEED=${2:-} && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift || { usage >&2 && exit 2; }
done
for number in "$MINUTES" "$SEED"; do
  case $number in
    "" | *[!0-9]*) usage >&2 && exit 2 ;;
  esac
done
[ "$MINUTES" -gt 0 ] || { usage >&2 && exit 2; }

ROOT=$PWD
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
VENV=$TARGET/fuzz/venv
WORK=""

# Stops what was started, and leaves nothing behind.
clean_up() {
  abandon_dev
  [ -z "$WORK" ] || rm -rf "$WORK"
}
trap clean_up EXIT

install_fuzzer() {
  need compiler rust redis python
  if ! cmp -s scripts/fuzz/requirements.txt "$VENV/requirements.txt"; then
    say "Running: pip install -r scripts/fuzz/requirements.txt (once, into $VENV)"
    rm -rf "$VENV"
    python3 -m venv "$VENV"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -r scripts/fuzz/requirements.txt ||
      die "the fuzzer could not be installed; it comes from the Python Package Index"
    cp scripts/fuzz/requirements.txt "$VENV/requirements.txt"
  fi
}

python() { PYTHONDONTWRITEBYTECODE=1 "$VENV/bin/python" "$@"; }

# token WHOM…
token() { "$TARGET/debug/stampede" --dir "$WORK/dev" token "$@"; }

# fuzz WHO SECONDS [TOKEN]
fuzz() {
  local who=$1 seconds=$2 header=()
  [ $# = 2 ] || header=(--header "Authorization: Bearer $3")
  say "" "-- as $who, for about $seconds s --"
  # It keeps notes in the folder that it is started from.
  (
    cd "$WORK"
    export STAMPEDE_FUZZ_IDS=$WORK/ids.json SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$ROOT/scripts/fuzz PYTHONDONTWRITEBYTECODE=1
    "$VENV/bin/schemathesis" run "$ORIGIN/api/v1/openapi.json" ${header[@]+"${header[@]}"} --checks "$CHECKS" \
      --max-time "$seconds" --seed "$SEED" --generation-database none --warnings off --continue-on-failure --no-color
  )
}

install_fuzzer
say "Building Stampede."
cargo build --workspace --locked --bin stampede
WORK=$(mktemp -d)
start_dev "$TARGET/debug/stampede" "$WORK"
OPERATOR=$(token --operator)
SHOPPER=$(token --shopper fuzz)
python scripts/fuzz/prepare.py "$ORIGIN" "$ADMIN" "$OPERATOR" "$SHOPPER" "$WORK/ids.json"

say "Seed: $SEED (repeat it with --seed $SEED)"
# Operators may do most, so most is tried as one.
fuzz "an operator" $((MINUTES * 30)) "$OPERATOR"
fuzz "a shopper" $((MINUTES * 20)) "$SHOPPER"
fuzz "nobody" $((MINUTES * 10))

kill -0 "$DEV" 2>/dev/null || die "the service did not survive"
# Chance may miss an operation for which much has to be right at once: it gets another seed, twice.
tries=1
until say "" "-- What was answered --" && python scripts/fuzz/report.py "$ORIGIN" "$ADMIN" "$WORK/ids.json"; do
  [ "$tries" -lt 3 ] || die "none of three seeds did"
  tries=$((tries + 1)) SEED=$((SEED + 1))
  fuzz "an operator, once more" $((MINUTES * 30)) "$OPERATOR"
done
stop_dev "$WORK"
say "" "Every answer is in the description, and none was a server's error."
