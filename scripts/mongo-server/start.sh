#!/bin/sh
# Starts a server of the MongoDB protocol for tests and development, where there is no MongoDB: start.sh PORT [DIR]
# It lives until its standard input ends, and keeps its data in DIR, or in memory. Needs Java 17 and, once, Maven.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
jars=$target/mongo-server

if [ ! -d "$jars" ]; then
    mkdir -p "$target"
    # Several may come here at once: each fetches for itself, and the first to finish gives the folder its name.
    fetched=$(mktemp -d "$target/mongo-server.XXXXXX")
    mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fetched/jars" \
        </dev/null >&2
    [ -d "$jars" ] || mv "$fetched/jars" "$jars"
    rm -rf "$fetched"
fi

exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m -cp "$jars/*" "$here/Launcher.java" "$@"
