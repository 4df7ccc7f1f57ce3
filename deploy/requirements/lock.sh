#!/bin/sh
# Resolves the hashed lists from pyproject.toml. One OpenCV, one ONNX Runtime in each; no index is named.
# cpu, gpu, openvino: what `make install` installs (the demo's clip included); test: what the tests add to cpu.
set -eu
cd "$(dirname "$0")/../.."
lists=deploy/requirements
compile() {
    out=$1
    overrides=$2
    shift 2
    uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
        --override "$lists/$overrides" "$@" pyproject.toml "$lists/build.in" --output-file "$lists/$out"
}
compile cpu.txt overrides.txt --extra demo
compile gpu.txt overrides-gpu.txt --extra demo --extra gpu --constraint "$lists/cpu.txt"
compile openvino.txt overrides.txt --extra demo --extra openvino --constraint "$lists/cpu.txt"
compile test.txt overrides.txt --extra demo --extra dev --constraint "$lists/cpu.txt"
