#!/usr/bin/env bash
# Measures on a machine with a GPU, in under eight minutes and without a network, what the published
# experiment takes there:
#   bash launch/gpu_check.sh [--small] [--out=FOLDER] [--page=docs/results/gpu.md]
# writes FOLDER/check.json and FOLDER/check.md; of the page the table is replaced. Each part has a
# process and a limit of its own; one that fails is "not measured", the others go on. With --small
# it measures next to nothing, to see that it runs. $PYTHON is the Python, python3 if unset.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
PYTHON="${PYTHON:-python3}"
TOTAL=470 OUT=docs/results/benchmark_gpu SMALL=() PAGE=()
for word in "$@"; do
  case "$word" in
    --small) SMALL=(--small) TOTAL=3600 ;;
    --out=*) OUT="${word#--out=}" ;;
    --page=*) PAGE=("$word") ;;
    *) echo "error: expected --small, --out=FOLDER or --page=FILE, got '$word'; see $0." >&2; exit 1 ;;
  esac
done
# Times of compilation count, so that nothing may be compiled before.
CACHE="$(mktemp -d)"
trap 'rm -rf "$CACHE"' EXIT
export JAX_COMPILATION_CACHE_DIR="$CACHE"
rm -f "$OUT"/check.json "$OUT"/check_*.json

# part NAME SECONDS: at most so long, and never beyond the whole's limit.
part() {
  local left=$((TOTAL - SECONDS)) limit="$2"
  [ ${#SMALL[@]} = 0 ] || limit=900
  [ "$limit" -le "$left" ] || limit="$left"
  if [ "$limit" -lt 5 ]; then echo "gpu_check: no time is left for $1" >&2; return; fi
  echo "gpu_check: $1, at most $limit s" >&2
  timeout --kill-after=5 "$limit" "$PYTHON" -m launch.gpu_check "$1" --out="$OUT" \
    ${SMALL[@]+"${SMALL[@]}"} || echo "gpu_check: $1 failed with status $?; the others go on" >&2
}

part drawing 100
part training 180
part embedding 70
part agents 60
part policy 60
# It starts the demo, which needs the GPU's memory.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
part demo 170
"$PYTHON" -m launch.gpu_check page --out="$OUT" ${SMALL[@]+"${SMALL[@]}"} ${PAGE[@]+"${PAGE[@]}"}
