#!/bin/sh
# Makes my-plugin.wasm. Needs a Rust tool chain with the target: rustup target add wasm32-unknown-unknown
set -eu
cd "$(dirname "$0")"
cargo build --quiet --release --target wasm32-unknown-unknown
"${RSNAP:-rsnap}" plugin pack "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/my_plugin.wasm" \
    --output my-plugin.wasm --name my-plugin --version 0.1.0
