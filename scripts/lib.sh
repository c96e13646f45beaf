# Shared by the scripts of this directory, which source it. It runs on bash 3.2 (macOS) and later.
# shellcheck shell=bash

RUST_INSTALLER="https://sh.rustup.rs"
# The k6 that is installed where there is none; any of version 1 or later will do.
K6_VERSION="v1.8.1"
K6_RELEASES="https://github.com/grafana/k6/releases/download"
# What k6 says in its go.mod.
K6_GO=1.25

# say LINE…
say() { printf '%s\n' "$@"; }

# die LINE…
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# = 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need THING…: makes sure that things are there; installs those that are not, and says so before it does.
# The things are: compiler curl git rust rust-tools redis java maven python faketime prometheus node k6 docker-engine debootstrap iproute2
need() {
  local thing missing=""
  for thing in "$@"; do
    is_there "$thing" || missing="$missing $thing"
  done
  # The names are words, so they are split here.
  # shellcheck disable=SC2086
  [ -z "$missing" ] || install $missing
  for thing in "$@"; do
    is_there "$thing" || die "$thing was installed, but it is still not found: $(describe "$thing")"
    check_version "$thing"
  done
}

describe() {
  case $1 in
    compiler) say "a C compiler (cc)" ;;
    rust) say "Rust $(wanted_rust) or newer, by rustup ($RUST_INSTALLER)" ;;
    rust-tools) say "rustfmt and clippy (rustup component add rustfmt clippy)" ;;
    redis) say "Redis 7.0 or newer (redis-server)" ;;
    java) say "a JDK, version 17 or newer (java, javac)" ;;
    maven) say "Maven (mvn)" ;;
    python) say "Python 3.10 or newer, with venv (python3 -m venv)" ;;
    node) say "Node.js 20 or newer, with npm" ;;
    k6) say "k6, version 1 or newer" ;;
    faketime) say "libfaketime (faketime), to set a server's clock back" ;;
    docker-engine) say "Docker's engine (dockerd), with a command that builds images" ;;
    iproute2) say "iproute2 (ip)" ;;
    prometheus) say "Prometheus, with promtool (prometheus, promtool)" ;;
    *) say "$1" ;;
  esac
}

is_there() {
  case $1 in
    # On macOS the commands are there even when what they need is not.
    compiler) if [ "$(uname -s)" = Darwin ]; then xcode-select -p >/dev/null 2>&1; else have cc; fi ;;
    rust) load_rust && have cargo ;;
    rust-tools) cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 ;;
    redis) have redis-server ;;
    java) load_java && java_works ;;
    maven) have mvn ;;
    node) have node && have npm ;;
    k6) load_k6 && have k6 ;;
    python) python3 -c "import ensurepip, venv" >/dev/null 2>&1 ;;
    docker-engine) have dockerd && have docker ;;
    iproute2) have ip ;;
    prometheus) have prometheus && have promtool ;;
    *) have "$1" ;;
  esac
}

check_version() {
  local wanted found
  case $1 in
    rust)
      wanted=$(wanted_rust)
      found=$(rustc --version | cut -d ' ' -f 2)
      at_least "$wanted" "$found" || die "Rust $found is installed; Stampede needs $wanted or newer. Run: rustup update"
      ;;
    redis)
      found=$(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
      at_least 7.0 "$found" || die "Redis $found is installed; Stampede needs 7.0 or newer."
      ;;
    python)
      found=$(python3 --version | cut -d ' ' -f 2)
      at_least 3.10 "$found" || die "Python $found is installed; the fuzzer and the benchmark need 3.10 or newer."
      ;;
    node)
      found=$(node --version | tr -d v)
      at_least 20 "$found" || die "Node.js $found is installed; the load suites need 20 or newer."
      ;;
    k6)
      found=$(k6 version | sed -n 's/^k6.* v\([0-9.]*\).*/\1/p')
      at_least 1.0 "$found" || die "k6 $found is installed; the load suites need 1.0 or newer."
      ;;
  esac
}

# at_least 1.90 1.95.0: whether the second version is the first or a later one.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# The version that the workspace asks for.
wanted_rust() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# Rust may be installed without this shell having been told.
load_rust() {
  local env="${CARGO_HOME:-$HOME/.cargo}/env"
  if ! have cargo && [ -f "$env" ]; then
    # shellcheck source=/dev/null
    . "$env"
  fi
}

# A k6 that was installed here, or by Go, may not be in this shell's path.
load_k6() {
  local folders
  if ! have k6; then
    folders=$(k6_folder)
    ! have go || folders="$folders:$(go env GOPATH)/bin"
    export PATH="$PATH:$folders"
  fi
}

k6_folder() { say "${CARGO_TARGET_DIR:-$PWD/target}/k6"; }

# Homebrew keeps its Java out of the way of the system's, which only says that there is none.
load_java() {
  local home
  if [ "$(package_manager)" = brew ] && ! java_works; then
    home="$(brew --prefix)/opt/openjdk@17/libexec/openjdk.jdk/Contents/Home"
    if [ -d "$home" ]; then
      export JAVA_HOME="$home" PATH="$home/bin:$PATH"
    fi
  fi
}

# A runtime alone will not do: the compiler must be there.
java_works() {
  local version
  javac -version >/dev/null 2>&1 || return 1
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
  [ -n "$version" ] && [ "$version" -ge 17 ]
}

package_manager() {
  if [ "$(uname -s)" = Darwin ]; then
    if have brew; then say brew; else say none; fi
  elif have apt-get; then
    say apt-get
  elif have dnf; then
    say dnf
  else
    say none
  fi
}

# packages_of THING: what the system's package manager calls it; nothing for what comes another way.
packages_of() {
  case "$(package_manager):$1" in
    apt-get:compiler) say "gcc libc6-dev" ;;
    dnf:compiler) say gcc ;;
    apt-get:curl) say "curl ca-certificates" ;;
    apt-get:redis) say redis-server ;;
    # Newer releases of Fedora have Valkey in its place, and a package that gives it Redis's command names.
    dnf:redis) if dnf -q list redis >/dev/null 2>&1; then say redis; else say valkey-compat-redis; fi ;;
    apt-get:java)
      # Debian 12 and Ubuntu have it by its version; where it is gone, the default is newer.
      if apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1; then
        say openjdk-17-jdk-headless
      else
        say default-jdk-headless
      fi
      ;;
    dnf:java) say java-devel ;;
    brew:java) say openjdk@17 ;;
    apt-get:python) say "python3 python3-venv" ;;
    dnf:python) say python3 ;;
    brew:python) say python3 ;;
    apt-get:docker-engine) say "docker.io iptables" ;;
    brew:node) say node ;;
    *:node) say "nodejs npm" ;;
    dnf:faketime) say libfaketime ;;
    dnf:prometheus) say golang-github-prometheus ;;
    apt-get:rust-tools) say "rustfmt rust-clippy" ;;
    dnf:rust-tools) say "rustfmt clippy" ;;
    brew:compiler | *:rust | *:rust-tools) ;;
    *) say "$1" ;;
  esac
}

# install THING…
install() {
  local thing rest="" packages="" found
  say "Missing:"
  for thing in "$@"; do say "  $(describe "$thing")"; done

  if [ "$(package_manager)" = apt-get ] && can_install; then
    say "Running: apt-get update"
    as_root apt-get update -qq
  fi
  for thing in "$@"; do
    case $thing in
      rust)
        rest="$rest rust"
        # Its installer comes by curl.
        have curl || packages="$packages curl"
        ;;
      k6) if [ "$(package_manager)" = brew ]; then packages="$packages k6"; else rest="$rest k6"; fi ;;
      rust-tools) if have rustup || ! have cargo; then rest="$rest rust-tools"; else packages="$packages $thing"; fi ;;
      *) packages="$packages $thing" ;;
    esac
  done
  if [ -n "$packages" ]; then
    can_install || die "Nothing was installed: that needs apt-get or dnf, as root or with sudo, or brew on macOS." \
      "Install what is named above, and start this script again."
    found=""
    for thing in $packages; do
      [ "$(package_manager):$thing" != brew:compiler ] || die "Run: xcode-select --install" "Then start this script again."
      found="$found $(packages_of "$thing")"
    done
    # shellcheck disable=SC2086
    install_packages $found
  fi
  case $rest in
    *" rust "* | *" rust")
      say "Running: the installer of rustup ($RUST_INSTALLER)"
      curl --proto '=https' --tlsv1.2 -sSf "$RUST_INSTALLER" |
        sh -s -- -y --quiet --no-modify-path --profile minimal --component rustfmt,clippy
      load_rust
      ;;
    *rust-tools*)
      say "Running: rustup component add rustfmt clippy"
      rustup component add rustfmt clippy
      ;;
  esac
  case "$rest " in
    *" k6 "*) install_k6 ;;
  esac
}

# By Go if there is one that can compile it, otherwise as a program of its release.
install_k6() {
  local found="" name
  ! have go || found=$(go env GOVERSION | sed 's/^go//')
  if [ -n "$found" ] && at_least "$K6_GO" "$found"; then
    say "Running: go install go.k6.io/k6@$K6_VERSION (once; it compiles for some minutes)"
    go install "go.k6.io/k6@$K6_VERSION"
    return
  fi
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) name=k6-$K6_VERSION-linux-amd64 ;;
    Linux-aarch64) name=k6-$K6_VERSION-linux-arm64 ;;
    *) die "k6 has no release for this machine that can be installed here: install k6, or Go $K6_GO or newer." ;;
  esac
  need curl
  say "Running: curl $K6_RELEASES/$K6_VERSION/$name.tar.gz"
  mkdir -p "$(k6_folder)"
  curl --proto '=https' --tlsv1.2 -sSfL "$K6_RELEASES/$K6_VERSION/$name.tar.gz" |
    tar -xz -C "$(k6_folder)" --strip-components 1 "$name/k6" || die "k6 could not be fetched: install k6, or Go $K6_GO or newer."
}

can_install() {
  case "$(package_manager)" in
    brew) ;;
    none) return 1 ;;
    *) [ "$(id -u)" = 0 ] || have sudo ;;
  esac
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install_packages PACKAGE…: by the system's package manager.
install_packages() {
  say "Running: $(package_manager) install $*"
  case "$(package_manager)" in
    apt-get)
      as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
      ;;
    dnf) as_root dnf install -y -q "$@" </dev/null ;;
    brew) brew install --quiet "$@" </dev/null ;;
  esac
}

# random_hex BYTES: as many random bytes, in hexadecimal digits.
random_hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# The `stampede dev` that start_dev started, until it is stopped.
DEV=""
DEV_START_LIMIT_S=60

# start_dev PROGRAM FOLDER: starts a fresh `stampede dev` on free ports, in FOLDER/dev; it writes to FOLDER/log. Sets DEV, its process,
# and ORIGIN and ADMIN, where it is. Whoever calls it traps EXIT with abandon_dev.
start_dev() {
  local waited=0
  # Not by a function: what is started then would be a shell, and the signal to stop would end only that.
  "$1" --dir "$2/dev" dev --fresh --no-demo --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 >"$2/log" 2>&1 &
  DEV=$!
  # Its page says where it is.
  until ORIGIN=$(sed -n 's|^API  *\(http://[^/]*\)/.*|\1|p' "$2/log") && [ -n "$ORIGIN" ]; do
    if ! kill -0 "$DEV" 2>/dev/null || [ "$waited" -ge "$DEV_START_LIMIT_S" ]; then
      cat "$2/log" >&2
      die "stampede dev did not start"
    fi
    sleep 1
    waited=$((waited + 1))
  done
  # Read by those who source this.
  # shellcheck disable=SC2034
  ADMIN=$(sed -n 's|^Metrics  *\(http://[^/]*\)/.*|\1|p' "$2/log")
}

# stop_dev FOLDER: stops it, and fails if it was gone, did not stop in order, or panicked.
stop_dev() {
  kill -0 "$DEV" 2>/dev/null || die "the service did not survive: $(tail -n 5 "$1/log")"
  kill "$DEV"
  wait "$DEV" || die "the service did not stop in order: $(tail -n 5 "$1/log")"
  DEV=""
  ! grep -F "panicked" "$1/log" || die "a request panicked"
}

# Stops it if it still runs, whatever becomes of it.
abandon_dev() {
  [ -z "$DEV" ] || { kill "$DEV" 2>/dev/null && wait "$DEV" 2>/dev/null; } || true
}
