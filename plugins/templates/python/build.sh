#!/bin/sh
# Makes my-plugin.wasm. Needs Python 3.10 or newer; the first run installs componentize-py into .venv.
set -eu
cd "$(dirname "$0")"
if [ -z "${COMPONENTIZE_PY:-}" ]; then
    COMPONENTIZE_PY=.venv/bin/componentize-py
    if [ ! -x "$COMPONENTIZE_PY" ]; then
        python3 -m venv .venv
        .venv/bin/pip install --quiet --requirement requirements.txt
    fi
fi
# Nothing of WASI is linked: a plugin has no files, no environment and no network.
"$COMPONENTIZE_PY" --wit-path wit/rsnap-plugin --world WORLD componentize plugin --stub-wasi --output core.wasm
"${RSNAP:-rsnap}" plugin pack core.wasm --output my-plugin.wasm --name my-plugin --version 0.1.0
