#!/usr/bin/env bash
# Installs what is missing, then runs every check that a change must pass. The first failure ends it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# Newer versions may read deny.toml differently, or need a newer Rust.
CARGO_DENY_VERSION="^0.20.2"
# How long the security advisories may take to fetch before they count as out of reach.
ADVISORIES_LIMIT_S=120

usage() {
  say "usage: ./scripts/test.sh"
  say "Installs what is missing, then checks format, lints, tests, documentation, answers to fuzzed requests, load suites,"
  say "rolling updates on a Swarm, licences and advisories."
  say "MONGODB_URL=…  use this MongoDB in the tests, and start none"
}

SUMMARY=""
CURRENT=""

step() {
  finish_step ok
  CURRENT=$1
  STARTED=$SECONDS
  say "" "== $CURRENT =="
}

finish_step() {
  if [ -n "$CURRENT" ]; then
    SUMMARY="$SUMMARY$(printf '%-8s %4ds  %s' "$1" "$((SECONDS - STARTED))" "$CURRENT")"$'\n'
    CURRENT=""
  fi
}

# Also reached when a command fails: what passed, what did not, and the exit code that was.
summarise() {
  local code=$?
  local failed=$CURRENT
  if [ "$code" = 0 ]; then finish_step ok; else finish_step FAILED; fi
  say "" "== Summary (${SECONDS}s) =="
  printf '%s' "$SUMMARY"
  if [ "$code" = 0 ]; then
    say "All checks passed.${REMARK:+ But: $REMARK}"
  else
    say "Failed: ${failed:-before the first step}. Its messages are above."
  fi
}

# Whether the tests find a MongoDB without Java: by URL, as a program, or as an image that Docker has already.
mongodb_is_there() {
  [ -n "${MONGODB_URL:-}" ] || have mongod || {
    have docker && [ -n "$(docker image ls --quiet mongo 2>/dev/null)" ]
  }
}

install_missing() {
  need compiler curl git rust rust-tools redis python prometheus node k6
  mongodb_is_there || need java maven
  if ! cargo deny --version >/dev/null 2>&1; then
    say "Running: cargo install cargo-deny (once; it compiles for some minutes)"
    cargo install --locked --quiet cargo-deny --version "$CARGO_DENY_VERSION"
  fi
  say "Nothing is missing."
}

# within SECONDS COMMAND…: fails when the command does, or has not ended by then.
within() {
  local limit=$1
  shift
  "$@" &
  local child=$! waited=0
  while kill -0 "$child" 2>/dev/null; do
    if [ "$waited" -ge "$limit" ]; then
      kill "$child" 2>/dev/null
      wait "$child" 2>/dev/null
      return 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
  wait "$child"
}

# What cannot run here is said at the end, too.
remark() { REMARK="${REMARK:+$REMARK }$1"; }

check_swarm() {
  local code=0
  ./scripts/swarm.sh || code=$?
  if [ "$code" = 77 ]; then
    remark "rolling updates on a Swarm were NOT tested; see above."
  else
    return "$code"
  fi
}

check_dependencies() {
  say "Fetching the security advisories …"
  if within "$ADVISORIES_LIMIT_S" cargo deny fetch db; then
    cargo deny check --hide-inclusion-graph licenses advisories bans sources
  else
    say "WARNING: security advisories are not checked. Licences, bans and sources are all the same."
    remark "security advisories were NOT checked; their database could not be fetched."
    cargo deny check --hide-inclusion-graph licenses bans sources
  fi
}

main() {
  case "${1:-}" in
    "") ;;
    -h | --help) usage && return ;;
    *) usage >&2 && exit 2 ;;
  esac
  trap summarise EXIT

  step "What is missing"
  install_missing
  step "Format"
  cargo fmt --all --check
  step "Lints"
  cargo clippy --workspace --all-targets --locked -- -D warnings
  step "Tests"
  cargo test --workspace --locked
  step "Documentation"
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
  step "The benchmark's own tests"
  python3 -B -m unittest discover --start-directory scripts/bench/tests --top-level-directory scripts/bench
  step "Fuzzed requests"
  ./scripts/fuzz.sh --minutes 1
  step "Load suites"
  ./scripts/load.sh --seconds 5
  step "Swarm"
  check_swarm
  step "Dependencies"
  check_dependencies
}

main "$@"
