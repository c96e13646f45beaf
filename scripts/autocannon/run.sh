#!/usr/bin/env bash
# Installs what is missing, and runs one script of this directory against a running Stampede.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

HERE=scripts/autocannon

usage() {
  say "usage: ./scripts/autocannon/run.sh get-sale-status | get-product | create-order"
  say "       ./scripts/autocannon/run.sh --install   (what is missing, and no more)"
  say "Sends as many requests as the connections allow, prints rate, latency and answers, and checks that nothing was oversold."
  say "API_URL=…         the origin of the API; http://127.0.0.1:4000 if it is not said"
  say "SKU=…             what is sold; demo-sneaker if it is not said"
  say "CONNECTIONS=…     100 if it is not said"
  say "DURATION=…        such as 30s or 2m; 10s if it is not said"
  say "TOKEN_SECRET=…    signs the shoppers' tokens, or TOKENS=… a file of them: create-order needs one of the two"
  say "OPERATOR_TOKEN=…  also counts the orders at the end"
}

case "${1:-}" in
  get-sale-status | get-product | create-order | --install) [ $# = 1 ] || { usage >&2 && exit 2; } ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac

need node
if ! cmp -s "$HERE/package-lock.json" "$HERE/node_modules/.installed-lock.json"; then
  say "Running: npm ci (once, into $HERE/node_modules)"
  (cd "$HERE" && npm ci --silent --no-audit --no-fund) || die "autocannon could not be installed; it comes from npm's registry"
  cp "$HERE/package-lock.json" "$HERE/node_modules/.installed-lock.json"
fi
[ "$1" = --install ] || exec node "$HERE/$1.js"
