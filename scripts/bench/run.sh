#!/usr/bin/env bash
# Measures a sale beside a null handler. Options go to run.py: see scripts/bench/run.sh --help.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need compiler rust redis wrk python3
cargo build --release --locked -p stampede
cargo build --release --locked -p stampede-api --example null_handler
exec python3 scripts/bench/run.py "$@"
