#!/bin/sh
# Makes my-plugin.wasm. Needs clang, wasm-ld and a C library for WebAssembly (Debian: clang, lld and wasi-libc).
set -eu
cd "$(dirname "$0")"
"${CC:-clang}" --target=wasm32-wasi -O2 -Wall -Wextra -c plugin.c -I bindings -o plugin.o
"${CC:-clang}" --target=wasm32-wasi -O2 -c bindings/plugin.c -o bindings.o
# Nothing of WASI is linked: a plugin has no files, no environment and no start.
"${CC:-clang}" --target=wasm32-wasi -nostdlib -Wl,--no-entry -Wl,--strip-all plugin.o bindings.o -lc -o core.wasm
"${RSNAP:-rsnap}" plugin pack core.wasm --kind KIND --wit wit/rsnap-plugin \
    --output my-plugin.wasm --name my-plugin --version 0.1.0
