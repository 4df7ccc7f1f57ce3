#!/bin/sh
# Fetches an InsightFace detector for the tests of InsightFace packs: the source distribution of `scrfd` carries one.
# Its weights are for non-commercial research: it stays in build/, never in the repository or the package.
set -u
target=build/test-models/scrfd.onnx
[ -e "$target" ] && exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if "$1" download --quiet --disable-pip-version-check --no-deps --no-binary scrfd --dest "$folder" scrfd==0.3.0 &&
    tar -xzf "$folder"/scrfd-0.3.0.tar.gz -C "$folder"; then
    mkdir -p "$(dirname "$target")"
    cp "$folder"/scrfd-0.3.0/models/scrfd.onnx "$target"
else
    echo "could not fetch the test detector; the tests of InsightFace packs are skipped"
fi
