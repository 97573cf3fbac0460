#!/usr/bin/env bash
# Prepares a fresh machine: the matrix libraries that make Unfold fast (optional), redis-server for the queue and its tests
# (which also want pip, for an S3 server), then the packages and the native kernels.
# Reads nothing, writes node_modules/, build/ and dist/. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

if command -v apt-get >/dev/null; then
  missing=$(dpkg-query -W -f='${Package} ${Status}\n' libdnnl-dev libopenblas-dev g++ make redis-server python3-pip 2>/dev/null | awk '/install ok installed/ {print $1}' | sort |
    comm -13 - <(printf '%s\n' g++ libdnnl-dev libopenblas-dev make python3-pip redis-server))
  if [ -n "$missing" ]; then
    echo "setup: installing $(echo $missing) with apt-get"
    # shellcheck disable=SC2086
    { as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends $missing; } >/dev/null ||
      echo "setup: that failed; Unfold will work, but slower or without a queue (\"npx unfold doctor\" says what is missing)" >&2
  fi
fi

npm ci --no-fund --no-audit
