#!/usr/bin/env bash
# What a GPU does with MuJoCo Warp, in six minutes: rates of physics and pictures for 9, 64, 512 and
# 4,096 worlds, then window-open with 1,024 environments. In the environment of the extra warp:
#   bash launch/warp_gpu.sh SCENE OUT
# SCENE is what `launch.export_scene --placement=0 --episodes=50` wrote. It has never run on a GPU.
set -euo pipefail
SCENE="$(realpath "$1")"
mkdir -p "$2"
OUT="$(realpath "$2")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# JAX would take most of the memory, and Warp needs some beside it.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
memory() { nvidia-smi --query-gpu=memory.used --format=csv,noheader || true; }

timeout 150 python -m launch.benchmark warp --scene="$SCENE" --out="$OUT" --repeats=3 ||
  echo "the rates took too long or failed"
RUN=(--config=configs/warp.py:1024 "--config.policy.scene=$SCENE" "--workdir=$OUT/run")
timeout 60 python -m launch.film_warp "${RUN[@]}"
timeout 90 python -m launch.finetune "${RUN[@]}"
(sleep 45; echo "memory while it trains: $(memory)") &
timeout --signal=TERM 120 python -m launch.train_policy "${RUN[@]}" || true
tail -n 3 "$OUT/run/metrics.jsonl"
