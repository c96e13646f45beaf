#!/usr/bin/env bash
# Installs what is missing, then sells while everything breaks, and proves that nothing confirmed was lost.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
  say "usage: ./scripts/faults.sh [--minutes N] [--seed N] [--scenario A,B] [--only KIND,...] [--keep]"
  say "Two APIs and two workers sell over HTTP, with a Redis and an archive of their own, while processes are killed and"
  say "frozen, connections break and stores go away. After each round every order and every answer is checked."
  say "--minutes N       how long; 10 if it is not said"
  say "--seed N          begins with the same drops, shoppers and faults"
  say "--scenario A,B    of: sqlite, mongodb, cluster"
  say "--only KIND,...   injects only these faults; a wrong word lists them"
  say "--keep            keeps the logs, also of a run that found nothing"
  say "It ends with the faults by kind, the orders confirmed, lost, doubled and oversold, and the seed. The exit code is not"
  say "0 if any of the last three is not, or a check failed; then the evidence is kept in a folder that is named."
}

main() {
  local argument minutes="--minutes 10"
  for argument in "$@"; do
    case $argument in
      -h | --help) usage && return ;;
      --minutes) minutes="" ;;
    esac
  done
  need compiler rust redis
  have mongod || need java maven
  # Without it Redis's clock stays right, and the output says so.
  case "$(package_manager)" in
    apt-get | dnf) if can_install; then need faketime; fi ;;
  esac
  # The words of `minutes` are split here.
  # shellcheck disable=SC2086
  exec cargo test --quiet --workspace --locked --test fault_suite -- $minutes "$@"
}

main "$@"
