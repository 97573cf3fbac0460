#!/usr/bin/env bash
# Runs a command in a clone of this repository inside a bare Debian system: what debootstrap makes, this machine's Node, npm
# and its way to the network, and nothing else: no packages, no apt state, no node_modules. Needs root.
# usage: bare.sh COMMAND
NAME=bare
# shellcheck source=scripts/say-why.sh
. "$(dirname "$0")/../scripts/say-why.sh"
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT

command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
# shellcheck source=/dev/null
debootstrap --variant=minbase --include=ca-certificates "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >"$root.log" ||
  { cat "$root.log" >&2; false; }
rm -f "$root.log"

# Node and npm as they are here, and how this machine reaches its registry: names, certificates, npm's own settings.
install -D "$(readlink -f "$(command -v node)")" "$root/usr/bin/node"
modules=$(npm root --global)
mkdir -p "$root/usr/lib/node_modules" "$root/usr/etc"
cp -r "$modules/npm" "$root/usr/lib/node_modules/npm"
for tool in npm npx; do ln -s "../lib/node_modules/npm/bin/$tool-cli.js" "$root/usr/bin/$tool"; done
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"; fi
for file in "$(npm config get globalconfig)" "$(npm config get userconfig)"; do
  if [ -f "$file" ]; then install -D "$file" "$root$file"; fi
done

git clone -q --no-hardlinks . "$root/root/unfold"
# The mounts end with the namespace.
# shellcheck disable=SC2016
ROOT=$root unshare --mount --pid --fork bash -Eeuc '
  mount -t proc proc "$ROOT/proc"
  mount --rbind /dev "$ROOT/dev"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$ROOT" bash -c "cd /root/unfold && $1"' bare "$1"
