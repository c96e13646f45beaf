#!/usr/bin/env bash
# Measures a sale beside a null handler, and prints one table. Options go to run.py: see scripts/bench/run.sh --help.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need compiler rust redis wrk python
[ -n "${MONGODB_URL:-}" ] || have mongod || need java maven
cargo build --release --locked --workspace --bin stampede --example null_handler --example paced_load \
  --example evalsha_per_order --example insert_many --example striped_cpu
exec python3 -B scripts/bench/run.py "$@"
