# shellcheck shell=bash
# Sourced by every script here: whatever ends one early says which line and which command it was, and what to do.
# `set -E` hands the trap on to functions and subshells; NAME is what the script calls itself.
set -Eeuo pipefail
say_why() { # status, line, command
  [ "${BASH_SUBSHELL:-0}" = 0 ] || exit "$1"
  echo "${NAME:-$0}: stopped at line $2: \"$3\" ended with exit code $1" >&2
  if [ -n "${REMEDY:-}" ]; then echo "  fix: $REMEDY" >&2; fi
}
trap 'say_why "$?" "$LINENO" "$BASH_COMMAND"' ERR
