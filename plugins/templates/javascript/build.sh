#!/bin/sh
# Makes my-plugin.wasm. Needs Node.js 20 or newer with npm; the first run installs componentize-js into node_modules.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm install --no-audit --no-fund --loglevel=error
node build.mjs
"${RSNAP:-rsnap}" plugin pack core.wasm --output my-plugin.wasm --name my-plugin --version 0.1.0
