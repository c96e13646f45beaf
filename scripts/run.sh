#!/usr/bin/env bash
# Installs what is missing, builds Stampede, and runs it on this machine: `stampede dev`, with the options given.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

need compiler rust redis

say "Building Stampede; the first time takes some minutes."
cargo build --release --locked -p stampede
exec "${CARGO_TARGET_DIR:-target}/release/stampede" dev "$@"
