#!/usr/bin/env bash
# Deploys docker-stack.yml's own services on a real Swarm of one node, sells through its ingress while one version replaces
# another and a third one fails, and finds every confirmed order archived. No order may fail.
#
# The Docker engine is one of its own, in a network and a folder of its own: nothing else on the machine is touched. Nothing is
# pulled: images are made of this machine's own system (debootstrap).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

# What the exit code is where no engine can be started.
SKIPPED=77
# The longest that the engine, the stack or an update may take.
LIMIT_S=240
# How long is sold before, between and after the updates.
SELL_S=8

usage() {
  say "usage: ./scripts/swarm.sh [--binary FILE]"
  say "Installs what is missing (Docker's engine, debootstrap), and sells a drop on a Swarm of one node during rolling updates."
  say "--binary  a program built for this machine; without it the debug build is made and taken"
  say "Needs Debian or Ubuntu, as root; elsewhere it says so, and exits with $SKIPPED."
}

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
BINARY=""
while [ $# != 0 ]; do
  case $1 in
    --binary) BINARY=${2:-} && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift || { usage >&2 && exit 2; }
done

STACK=stampede
DROP=swarm
ORIGIN=http://127.0.0.1:4000
BASE=stampede-test/base:local
NETWORK=stampede-swarm-$$
WORK=""
RUN=""
ENGINE=""
SELLER=""

skip() {
  say "SKIPPED: the Swarm was NOT tested: $1"
  exit "$SKIPPED"
}

# Stops what was started, and leaves nothing behind but the base image.
clean_up() {
  local code=$? waited=0
  if [ "$code" != 0 ] && [ "$code" != "$SKIPPED" ] && [ -n "$ENGINE" ]; then tell_state >&2 || true; fi
  [ -z "$SELLER" ] || kill "$SELLER" 2>/dev/null || true
  if [ -n "$ENGINE" ]; then
    docker stack rm "$STACK" >/dev/null 2>&1 || true
    while [ -n "$(docker ps --quiet 2>/dev/null)" ] && [ "$waited" -lt 60 ]; do
      sleep 1
      waited=$((waited + 1))
    done
    docker ps --quiet 2>/dev/null | while read -r container; do docker kill "$container" >/dev/null 2>&1; done || true
    kill "$ENGINE" 2>/dev/null || true
    wait "$ENGINE" 2>/dev/null || true
  fi
  ip netns delete "$NETWORK" 2>/dev/null || true
  [ -z "$RUN" ] || rm -rf "$RUN"
  [ -z "$WORK" ] || rm -rf "$WORK"
}

# What is known when something went wrong.
tell_state() {
  local service
  say "" "-- What the Swarm says --"
  docker service ls
  for service in api worker migrate redis; do
    docker service ps --no-trunc "${STACK}_$service" 2>/dev/null | cut -c -200
    docker service logs --tail 6 "${STACK}_$service" 2>&1 | cut -c -400
  done
  say "-- What the engine says --"
  tail -n 15 "$RUN/engine.log"
}

# in_network COMMAND…: in the engine's network, where the published ports are.
in_network() { nsenter --net="/run/netns/$NETWORK" "$@"; }

# until_true WHAT COMMAND…
until_true() {
  local what=$1 waited=0
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$waited" -lt "$LIMIT_S" ] || die "$what: not within $LIMIT_S s"
    sleep 1
    waited=$((waited + 1))
  done
}

make_base() {
  local release components=main
  # shellcheck source=/dev/null
  release=$(. /etc/os-release && say "${VERSION_CODENAME:-}")
  [ -n "$release" ] || skip "this system's release has no name in /etc/os-release"
  grep -q '^ID=ubuntu' /etc/os-release && components=main,universe
  BASE_TAR=$TARGET/swarm/base-$release.tar
  [ ! -f "$BASE_TAR" ] || return 0
  say "Making a base image of $release, with Redis and HAProxy (debootstrap; once, into $TARGET/swarm)"
  debootstrap --variant=minbase --components="$components" --include=ca-certificates,redis-server,haproxy \
    "$release" "$WORK/base" >"$WORK/debootstrap.log" 2>&1 || { tail -n 20 "$WORK/debootstrap.log" >&2 && die "no base image"; }
  rm -rf "$WORK"/base/var/cache/apt/* "$WORK"/base/var/lib/apt/lists/*
  tar -C "$WORK/base" -cf "$WORK/base.tar" .
  mv "$WORK/base.tar" "$BASE_TAR"
  rm -rf "$WORK/base"
}

# An engine that shares nothing with others: its own network, mounts, files and sockets.
start_engine() {
  ip netns add "$NETWORK"
  in_network ip link set lo up
  mkdir -p /run/docker
  export DOCKER_HOST=unix://$RUN/docker.sock
  # Not by a function, here and for the shoppers: what is started then is a shell, and a signal would end only that.
  # The inner shell is to see these.
  # shellcheck disable=SC2016
  nsenter --net="/run/netns/$NETWORK" unshare --mount sh -c 'mount -t tmpfs tmpfs /run/docker && exec dockerd "$@"' dockerd \
    --data-root "$WORK/engine" --exec-root "$RUN/exec" --pidfile "$RUN/engine.pid" --host "$DOCKER_HOST" \
    >"$RUN/engine.log" 2>&1 &
  ENGINE=$!
  local waited=0
  until docker info >/dev/null 2>&1; do
    if ! kill -0 "$ENGINE" 2>/dev/null || [ "$waited" -ge 60 ]; then
      tail -n 20 "$RUN/engine.log" >&2
      ENGINE=""
      die "Docker's engine does not start"
    fi
    sleep 1
    waited=$((waited + 1))
  done
  docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377 >/dev/null
  docker node update --label-add stampede.data=true "$(docker node ls --quiet)" >/dev/null
}

# A command that can build with BuildKit: newer ones need a plugin for it, older ones have it.
builder() {
  if docker buildx version >/dev/null 2>&1; then say docker; else say /usr/bin/docker; fi
}

# build VERSION: this program as another version.
build() {
  DOCKER_BUILDKIT=1 "$(builder)" build --quiet --file Dockerfile --build-arg BINARY=prebuilt --build-arg RUST_IMAGE="$BASE" \
    --build-arg BASE_IMAGE="$BASE" --label version="$1" --tag "stampede-test/stampede:$1" "$WORK/context" >/dev/null ||
    die "the image cannot be built; newer commands of Docker need its plugin buildx"
}

make_images() {
  docker import "$BASE_TAR" "$BASE" >/dev/null
  mkdir "$WORK/context"
  cp "$BINARY" "$WORK/context/stampede"
  strip "$WORK/context/stampede"
  build 1
  build 2
  # A version that never starts.
  printf 'FROM stampede-test/stampede:2\nENTRYPOINT ["false"]\n' |
    DOCKER_BUILDKIT=1 "$(builder)" build --quiet --tag stampede-test/stampede:broken - >/dev/null
}

# secret NAME VALUE
secret() { printf '%s' "$2" | docker secret create "stampede_$1" - >/dev/null; }

make_secrets() {
  local password
  password=$(random_hex 16)
  STAMPEDE_TOKEN_SECRET=$(random_hex 32)
  export STAMPEDE_TOKEN_SECRET
  secret token_secret "$STAMPEDE_TOKEN_SECRET"
  secret redis_auth "requirepass $password"
  secret redis_url "redis://default:$password@redis:6379"
  secret archive_url sqlite:///var/lib/stampede/archive.db
  # Of services without tasks here.
  secret mongodb_password unused
  secret grafana_password unused
}

# deploy VERSION
deploy() {
  local files=(--compose-file docker-stack.yml --compose-file scripts/swarm/test.yml)
  [ -z "$NO_IPVS" ] || files+=(--compose-file scripts/swarm/no-ipvs.yml)
  STACK_IMAGE=stampede-test/stampede:$1 docker stack deploy --resolve-image never --detach=true "${files[@]}" "$STACK" |
    grep -v -e '^Creating' -e '^Updating' || true
}

is_ready() { in_network "$BINARY" health --url "$ORIGIN/readyz" | grep -q '"status":"ready"'; }

# has_state SERVICE STATE: whether the last update of the service ended so.
has_state() {
  [ "$(docker service inspect --format '{{with .UpdateStatus}}{{.State}}{{end}}' "${STACK}_$1")" = "$2" ]
}

# in_task SERVICE COMMAND…: in one of its tasks.
in_task() {
  local service=$1
  shift
  docker exec "$(docker ps --quiet --filter "label=com.docker.swarm.service.name=${STACK}_$service" | head -n 1)" "$@"
}

# Whether all tasks that run have this version.
all_run() {
  local images
  images=$(docker service ps --filter desired-state=running --format '{{.Image}}' "${STACK}_api" | sort -u)
  [ "$images" = "stampede-test/stampede:$1" ]
}

# keep_selling: for a while; the seller must live.
keep_selling() {
  sleep "$SELL_S"
  kill -0 "$SELLER" 2>/dev/null || die "the shoppers are gone"
}

sell_during_updates() {
  in_network "$BINARY" seed --api-url "$ORIGIN" --drop-id "$DROP" --units 1000000 \
    --limit 1000 >/dev/null
  "$BINARY" token --shoppers 2000 --out "$RUN/tokens" >/dev/null
  nsenter --net="/run/netns/$NETWORK" python3 scripts/swarm/sell.py "$ORIGIN" "$DROP" "$RUN/tokens" "$RUN/confirmed" \
    >"$RUN/sold" 2>&1 &
  SELLER=$!
  keep_selling
  say "Version 2 replaces version 1, one task after another."
  deploy 2
  until_true "the update of api" has_state api completed
  until_true "the update of worker" has_state worker completed
  all_run 2 || die "not every api is of version 2"
  keep_selling
  say "A version that does not start is tried, and rolled back."
  docker service update --quiet --detach --no-resolve-image --image stampede-test/stampede:broken "${STACK}_api" >/dev/null
  until_true "the way back" has_state api rollback_completed
  all_run 2 || die "the rollback left another version"
  keep_selling
  kill "$SELLER"
  local code=0
  wait "$SELLER" || code=$?
  SELLER=""
  cat "$RUN/sold"
  [ "$code" = 0 ] || die "orders failed while versions were replaced"
}

check_archive() {
  local operator
  operator=$("$BINARY" token --operator)
  in_network curl -fsS -X POST -H "Authorization: Bearer $operator" "$ORIGIN/api/v1/drops/$DROP/close" >/dev/null
  in_task worker stampede reconcile --drop "$DROP"
  # Once Redis has forgotten the drop, only the archive knows its orders.
  in_task worker stampede purge --drop "$DROP"
  in_network python3 scripts/swarm/archived.py "$ORIGIN" "$DROP" "$operator" "$RUN/confirmed"
}

have apt-get || skip "it needs Debian or Ubuntu"
[ "$(id -u)" = 0 ] || skip "an engine of its own needs root"
unshare --net --mount true 2>/dev/null || skip "this machine gives nobody a network of its own, as a container without privileges"
need docker-engine debootstrap iproute2 python curl
if [ -z "$BINARY" ]; then
  need compiler rust
  cargo build --workspace --locked --bin stampede
  BINARY=$TARGET/debug/stampede
fi

trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$TARGET/swarm"
WORK=$(mktemp -d "$TARGET/swarm/run.XXXXXX")
# Paths of sockets must be short.
RUN=$(mktemp -d)
make_base
say "Starting a Docker engine, and a Swarm of one node."
start_engine
make_images
make_secrets

# The Swarm's balancer is the kernel's, which may have to be loaded.
NO_IPVS=""
modprobe ip_vs 2>/dev/null || true
export REDIS_IMAGE=$BASE MONGODB_REPLICAS=0 MONITORING_REPLICAS=0 STAMPEDE_LOG=warn,stampede=info
if [ ! -e /proc/net/ip_vs ]; then
  NO_IPVS=1
  export API_PORT=0 PORT_MODE=host
  say "NOTE: this kernel has no IPVS, so the Swarm has no ingress of its own here. HAProxy stands in its place, as a service that" \
    "      gives each connection to the next task that the Swarm's DNS names, without checks and without a second try."
fi

deploy 1
until_true "the first version" is_ready
say "Version 1 answers: $(docker service ls --format '{{.Name}} {{.Replicas}}' | tr '\n' ' ')"
sell_during_updates
check_archive
say "" "No order failed, and every confirmed order is archived once."
