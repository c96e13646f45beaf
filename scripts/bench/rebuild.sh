#!/usr/bin/env bash
# Measures how fast an empty Redis is rebuilt from the archive. Options go to rebuild.py: see scripts/bench/rebuild.sh --help.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
need compiler rust redis python
cargo build --release --locked --workspace --bin stampede --example fill_archive
exec python3 -B scripts/bench/rebuild.py "$@"
