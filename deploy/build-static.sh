#!/usr/bin/env bash
# Builds one static, stripped binary that starts on every x86-64 Linux, whatever its C library.
#
#   deploy/build-static.sh [FOLDER]      # default: dist
#
# Needs rustup and musl-gcc (in Debian: musl-tools). The first build takes about 20 minutes on two
# cores.
set -euo pipefail
out="$(realpath -m "${1:-dist}")"
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
rustup target add "$target"
cargo build --release --locked --bin kefu --target "$target"
mkdir -p "$out"
strip -o "$out/kefu" "${CARGO_TARGET_DIR:-target}/$target/release/kefu"
echo "$out/kefu"
