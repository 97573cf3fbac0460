#!/usr/bin/env bash
# Prepares a fresh machine: the matrix libraries that make Unfold fast (optional), redis-server for the queue and its tests
# (which also want pip, for an S3 server), then the packages and the native kernels.
# Reads nothing, writes node_modules/, build/ and dist/. Safe to run again.
NAME=setup
# shellcheck source=scripts/say-why.sh
. "$(dirname "$0")/say-why.sh"
cd "$(dirname "$0")/.."

wanted='g++ libdnnl-dev libopenblas-dev make python3-pip redis-server'
without='Unfold will work, but slower or without a queue ("npx unfold doctor" says what is missing)'

# The wanted packages that dpkg does not call installed. It answers 1 for one it has never heard of: no reason to stop.
missing_packages() {
  local package
  for package in $wanted; do
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" in
      'install ok installed') ;;
      *) printf '%s ' "$package" ;;
    esac
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else echo "setup: not root, and there is no sudo" >&2; return 1
  fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  missing=$(missing_packages)
  if [ -n "$missing" ]; then
    echo "setup: installing ${missing% } with apt-get"
    # shellcheck disable=SC2086
    apt_install $missing || echo "setup: that failed (its own words are above); $without. By hand: apt-get install $missing" >&2
  fi
else
  echo "setup: no apt-get here, so the matrix libraries and redis-server are left to you; $without"
fi

REMEDY='Unfold needs Node 20.19 or later with npm (https://nodejs.org); check "node --version", then run this script again'
for tool in node npm; do
  if ! command -v "$tool" >/dev/null; then
    echo "setup: there is no $tool on the PATH" >&2
    echo "  fix: $REMEDY" >&2
    exit 1
  fi
done
REMEDY='npm says above what it lacks (often the network); "npm ci" alone repeats this step'
npm ci --no-fund --no-audit
