#!/usr/bin/env bash
# Prepares a fresh machine: the matrix libraries that make Unfold fast (optional), redis-server for the queue and its tests
# (which also want pip, for an S3 server), then the packages and the native kernels.
# Reads nothing, writes node_modules/, build/ and dist/. Safe to run again.
NAME=setup
# shellcheck source=scripts/say-why.sh
. "$(dirname "$0")/say-why.sh"
cd "$(dirname "$0")/.."

wanted='g++ libdnnl-dev libopenblas-dev make python3-pip redis-server'
doctor='"npx unfold doctor" says what is missing and what that costs'

is_installed() { # dpkg-query answers 1 for a package that dpkg has never heard of: no reason to stop
  [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null || true)" = 'install ok installed' ]
}

missing_packages() {
  local package
  for package in $wanted; do
    if ! is_installed "$package"; then printf '%s ' "$package"; fi
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else
    echo 'setup: not root, and there is no sudo' >&2
    return 1
  fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >/dev/null; }

# All at once; where that fails, one by one, so that a package this system does not have costs only itself.
install_packages() {
  if ! apt update; then return 1; fi
  if apt install -y --no-install-recommends "$@"; then return 0; fi
  local package
  for package in "$@"; do
    apt install -y --no-install-recommends "$package" || echo "setup: $package could not be installed" >&2
  done
}

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  missing=$(missing_packages)
  if [ -n "$missing" ]; then
    echo "setup: installing ${missing% } with apt-get"
    # shellcheck disable=SC2086
    install_packages $missing || true
    missing=$(missing_packages)
    if [ -n "$missing" ]; then
      echo "setup: going on without ${missing% }; $doctor. To install them later: apt-get install ${missing% }" >&2
    fi
  fi
else
  echo "setup: no apt-get here: matrix libraries and redis-server are left to you; $doctor"
fi

REMEDY='Unfold needs Node 20.19 or later with npm (https://nodejs.org); install it, then run this script again'
node --version >/dev/null
npm --version >/dev/null
REMEDY='npm says above what it lacks (often the network); "npm ci" alone repeats this step'
npm ci --no-fund --no-audit
