#!/usr/bin/env bash
# Installs the given Debian packages, and a kubectl, when they are missing. Without root or apt it changes nothing:
# what needs them then says so.
set -u
missing=()
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
command -v kubectl >/dev/null || missing+=(kubernetes-client)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed here: ${missing[*]} (that takes root and apt-get)"
  exit 0
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A service that a package would start is not wanted: clusters run their own.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.tiphys && chmod +x /usr/sbin/policy-rc.d.tiphys
[ -e /usr/sbin/policy-rc.d ] || { mv /usr/sbin/policy-rc.d.tiphys /usr/sbin/policy-rc.d; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
rm -f /usr/sbin/policy-rc.d.tiphys
{ apt-get install -y -q --no-install-recommends "${missing[@]}" || { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; }; } > /tmp/tiphys-apt.log 2>&1 || { cat /tmp/tiphys-apt.log; exit 1; }
