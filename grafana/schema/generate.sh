#!/usr/bin/env bash
# Makes dashboard.schema.json anew from dashboard.ts, which puts together Grafana's own types (@grafana/schema, Apache-2.0).
# Only for a new version of Grafana; the tests read what is in the repository. It needs Node.js and npm.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GRAFANA_SCHEMA_VERSION=13.2.3
GENERATOR_VERSION=2.9.0

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cp "$HERE/dashboard.ts" "$WORK"
cd "$WORK"
printf '{ "private": true }\n' >package.json
npm install --ignore-scripts --no-audit --no-fund --silent \
  "@grafana/schema@$GRAFANA_SCHEMA_VERSION" "ts-json-schema-generator@$GENERATOR_VERSION"
cat >tsconfig.json <<'END'
{
  "compilerOptions": {
    "module": "esnext", "moduleResolution": "bundler", "target": "es2022", "strict": true, "skipLibCheck": true,
    "paths": { "@grafana/schema/dist/types/*": ["./node_modules/@grafana/schema/dist/types/*"] }
  },
  "files": ["dashboard.ts"]
}
END
npx ts-json-schema-generator --path dashboard.ts --tsconfig tsconfig.json --type DashboardFile --no-type-check \
  --expose none --jsDoc none --minify --out "$HERE/dashboard.schema.json"
printf '%s\n' "Wrote $HERE/dashboard.schema.json from @grafana/schema $GRAFANA_SCHEMA_VERSION."
