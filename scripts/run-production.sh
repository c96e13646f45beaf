#!/usr/bin/env bash
# Builds Stampede's image, deploys docker-stack.yml on this Docker Swarm, waits until it answers, and makes something to sell.
# Run again, it updates what runs, one task after another. scripts/run-production.ps1 is the same for PowerShell.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

STACK=stampede
API_PORT=${API_PORT:-4000}
GRAFANA_PORT=${GRAFANA_PORT:-4001}
API_REPLICAS=${API_REPLICAS:-2}
K6_IMAGE=grafana/k6:1.8.1
K6_SCRIPT=create-order.js
SKU=demo-sneaker
SECRETS="token_secret redis_auth redis_url mongodb_password archive_url grafana_password"
# The longest that all of it may take to become ready; images are pulled in that time.
LIMIT_S=600

usage() {
  say "usage: ./scripts/run-production.sh [--api-replicas N] [--image NAME] [--no-seed] [--run-k6 [SCRIPT]]"
  say "       ./scripts/run-production.sh --down [--purge]"
  say "Deploys Stampede on this Docker Swarm (which it makes, of one node, if there is none), or updates it."
  say "--api-replicas N    as many api tasks (2)"
  say "--image NAME        takes this image and builds none; with more than one node it must come from a registry"
  say "--no-seed           makes no product and no drop"
  say "--run-k6 [SCRIPT]   then sends the load of k6/SCRIPT ($K6_SCRIPT), from a container"
  say "--down              removes the stack, but keeps its data and its secrets"
  say "--down --purge      removes those as well"
  say "STAMPEDE_SIGN_IN, STAMPEDE_PUBLIC_ORIGINS, STAMPEDE_CORS_ORIGINS, STAMPEDE_LOG, API_PORT and GRAFANA_PORT count if they are set."
}

DOWN="" PURGE="" SEED=1 RUN_K6="" STACK_IMAGE=""
while [ $# != 0 ]; do
  case $1 in
    --api-replicas) API_REPLICAS=${2:-} && shift ;;
    --image) STACK_IMAGE=${2:-} && shift ;;
    --no-seed) SEED="" ;;
    --run-k6)
      RUN_K6=1
      case ${2:-} in "" | -*) ;; *) K6_SCRIPT=$2 && shift ;; esac
      ;;
    --down) DOWN=1 ;;
    --purge) PURGE=1 ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift || { usage >&2 && exit 2; }
done
case $API_REPLICAS in
  "" | 0* | *[!0-9]*) die "--api-replicas $API_REPLICAS: give a number above 0" ;;
esac
[ -z "$PURGE" ] || [ -n "$DOWN" ] || die "--purge goes with --down: it deletes every order that the stack has kept"
[ -z "$RUN_K6" ] || [ -f "k6/$K6_SCRIPT" ] || die "there is no k6/$K6_SCRIPT"

need_docker() {
  have docker || die "Docker is not installed; Swarm needs its engine: see docs/deploy.md"
  docker info >/dev/null 2>&1 || die "Docker's engine does not answer: start it, or say by DOCKER_HOST where it is"
}

swarm_state() { docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'; }

make_swarm() {
  case $(swarm_state) in
    "active true") ;;
    active*) die "this node is a worker of a Swarm: run this on a manager" ;;
    *)
      say "Running: docker swarm init"
      docker swarm init >/dev/null || die "no Swarm: if this machine has several addresses, run docker swarm init --advertise-addr ADDRESS"
      ;;
  esac
  # Redis and MongoDB stay where their files are.
  if [ -z "$(docker node ls --quiet --filter node.label=stampede.data=true)" ]; then
    say "Running: docker node update --label-add stampede.data=true (this node keeps the data)"
    docker node update --label-add stampede.data=true "$(docker info --format '{{.Swarm.NodeID}}')" >/dev/null
  fi
}

build_image() {
  local version
  version=$(git rev-parse --short HEAD 2>/dev/null || say local)
  # What is not committed is another version each time.
  [ -z "$(git status --porcelain 2>/dev/null)" ] || version=$version-$(date +%Y%m%d%H%M%S)
  STACK_IMAGE=stampede:$version
  say "Building the image $STACK_IMAGE; the first time takes some minutes."
  DOCKER_BUILDKIT=1 docker build --tag "$STACK_IMAGE" .
}

has_secret() { docker secret inspect "${STACK}_$1" >/dev/null 2>&1; }

# secret NAME VALUE
secret() { printf '%s' "$2" | docker secret create "${STACK}_$1" - >/dev/null; }

# Random ones, once: nobody needs to know them, but for Grafana's.
make_secrets() {
  local redis mongodb name found=0
  for name in $SECRETS; do if has_secret "$name"; then found=$((found + 1)); fi; done
  [ "$found" != 6 ] || return 0
  [ "$found" = 0 ] || die "some of the secrets are there and some are not: $SECRETS" \
    "Add those that are missing (docs/deploy.md says what each holds), or begin anew with --down --purge."
  redis=$(random_hex 24)
  mongodb=$(random_hex 24)
  GRAFANA_PASSWORD=$(random_hex 12)
  secret token_secret "$(random_hex 32)"
  secret redis_auth "requirepass $redis"
  secret redis_url "redis://default:$redis@redis:6379"
  secret mongodb_password "$mongodb"
  secret archive_url "mongodb://stampede:$mongodb@mongodb:27017/stampede?authSource=admin"
  secret grafana_password "$GRAFANA_PASSWORD"
}

deploy() {
  CONFIGS_VERSION=$(cat deploy/redis/*.conf prometheus/*.yml prometheus/rules/* grafana/provisioning/*/* grafana/dashboards/* |
    cksum | cut -d ' ' -f 1)
  export CONFIGS_VERSION STACK_IMAGE API_REPLICAS API_PORT GRAFANA_PORT
  docker stack deploy --compose-file docker-stack.yml --detach=true --prune "$STACK"
}

# Whether a service has all its tasks, and no update is on its way.
is_settled() {
  local replicas state
  replicas=$(docker service ls --filter "name=${STACK}_$1" --format '{{.Replicas}}')
  state=$(docker service inspect --format '{{with .UpdateStatus}}{{.State}}{{end}}' "${STACK}_$1")
  case $state in
    rollback* | paused) die "the update of $1 failed ($state): docker service ps --no-trunc ${STACK}_$1" ;;
    updating) return 1 ;;
  esac
  [ "${replicas%%/*}" = "${replicas##*/}" ]
}

is_ready() { curl -fsS "http://127.0.0.1:$API_PORT/readyz" 2>/dev/null | grep -q '"status":"ready"'; }

wait_until_ready() {
  local waited=0 service
  say "Waiting for the tasks."
  for service in redis mongodb api worker prometheus grafana; do
    until is_settled "$service"; do
      [ "$waited" -lt "$LIMIT_S" ] || die "$service is not there after $LIMIT_S s: docker service ps --no-trunc ${STACK}_$service"
      sleep 2
      waited=$((waited + 2))
    done
  done
  until is_ready; do
    [ "$waited" -lt "$LIMIT_S" ] || die "the API is not ready after $LIMIT_S s: docker service logs ${STACK}_api"
    sleep 2
    waited=$((waited + 2))
  done
}

# A task that runs to its end inside the stack's network, where the secret is.
seed() {
  local name=${STACK}_seed state="" waited=0
  docker service rm "$name" >/dev/null 2>&1 || true
  docker service create --quiet --detach --name "$name" --restart-condition none --no-healthcheck --network "${STACK}_backend" \
    --secret "source=${STACK}_token_secret,target=token_secret" --env STAMPEDE_TOKEN_SECRET_FILE=/run/secrets/token_secret \
    --env API_URL=http://tasks.api:4000 "$STACK_IMAGE" \
    seed --sku "$SKU" --name "Demo Sneaker" --units 100000 --drop-id demo >/dev/null
  until case $state in Complete* | Failed* | Rejected* | Shutdown*) true ;; *) false ;; esac do
    [ "$waited" -lt 120 ] || die "seeding does not end: docker service ps --no-trunc $name"
    sleep 1
    waited=$((waited + 1))
    state=$(docker service ps --format '{{.CurrentState}}' "$name" | head -n 1)
  done
  docker service logs --raw "$name" 2>&1 | grep -E '^(Product|Drop|error)' | cut -d '{' -f 1 || true
  docker service rm "$name" >/dev/null
  case $state in Complete*) ;; *) die "nothing was made to sell" ;; esac
}

run_k6() {
  say "Sending the load of k6/$K6_SCRIPT."
  docker run --rm --add-host host.docker.internal:host-gateway --volume "$PWD/k6:/k6:ro" --env SKU="$SKU" \
    --env API_URL="http://host.docker.internal:$API_PORT" "$K6_IMAGE" run "/k6/$K6_SCRIPT"
}

take_down() {
  local waited=0 name
  docker stack rm "$STACK"
  until [ -z "$(docker ps --quiet --filter "label=com.docker.stack.namespace=$STACK")" ]; do
    [ "$waited" -lt 120 ] || die "some tasks do not end: docker ps --filter label=com.docker.stack.namespace=$STACK"
    sleep 1
    waited=$((waited + 1))
  done
  if [ -z "$PURGE" ]; then
    say "The stack is gone. Its data (volumes) and secrets are kept; --down --purge removes them."
    return
  fi
  for name in $SECRETS; do docker secret rm "${STACK}_$name" >/dev/null 2>&1 || true; done
  # A container that has just ended may still hold its volume for a moment.
  sleep 3
  docker volume ls --quiet --filter "label=com.docker.stack.namespace=$STACK" | while read -r name; do
    docker volume rm "$name" >/dev/null || die "the volume $name is still in use"
  done
  say "The stack, its secrets, and its data on this node are gone."
}

need_docker
if [ -n "$DOWN" ]; then
  take_down
  exit
fi
need curl
GRAFANA_PASSWORD=""
make_swarm
[ -n "$STACK_IMAGE" ] || build_image
make_secrets
deploy
wait_until_ready
[ -z "$SEED" ] || seed
[ -z "$RUN_K6" ] || run_k6

say "" "Stampede runs: $API_REPLICAS api tasks, $STACK_IMAGE"
say "  API         http://127.0.0.1:$API_PORT/api/v1     described at http://127.0.0.1:$API_PORT/docs"
[ -z "$SEED" ] || say "  On sale     http://127.0.0.1:$API_PORT/api/v1/products/$SKU/sale-status"
say "  Grafana     http://127.0.0.1:$GRAFANA_PORT"
[ -z "$GRAFANA_PASSWORD" ] || say "              user admin, password $GRAFANA_PASSWORD (it is shown only this once)"
say "  Operator    docker exec \$(docker ps -qf name=${STACK}_api | head -1) stampede token --operator"
say "  State       docker stack services $STACK"
say "  Remove it   ./scripts/run-production.sh --down"
