#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docker-registry 2.8.2+ds1-1 (Debian 12), November 2026
#
# One would guess: REGISTRY_AUTH_FILE, by which skopeo, podman and buildah are told where their
# credentials are, means nothing to the registry itself, which has a file of settings.
# Seen: the registry takes every variable that begins with REGISTRY_ as one of its settings
# (REGISTRY_AUTH_FILE is "auth: file:"), and does not start with one that it cannot use. So who
# exports that variable for skopeo cannot start a registry for it from the same shell.
set -uo pipefail

place=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$place"' EXIT
server=
cd "$place" || exit 1
apt-get download -qq docker-registry=2.8.2+ds1-1 && dpkg-deb --extract docker-registry_*.deb . || exit 1
cat >settings.yml <<C
version: 0.1
storage: {filesystem: {rootdirectory: $place/data}}
http: {addr: 127.0.0.1:0}
C
echo '{}' >credentials.json
registry=$place/usr/bin/docker-registry

"$registry" serve settings.yml >without 2>&1 & server=$!
sleep 3
kill -0 $server && echo "without: it serves" | tee -a said
kill $server; wait $server 2>/dev/null

REGISTRY_AUTH_FILE=$place/credentials.json timeout 10 "$registry" serve settings.yml >with 2>&1
code=$?
echo "with: exit $code, $(grep -v '^$' with | head -1)"
grep -q serves said && [ $code != 0 ] && [ $code != 124 ]
