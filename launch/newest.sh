#!/usr/bin/env bash
# Holds the package against what pip picks today: on each of Python 3.11, 3.12 and 3.13 that is
# here it installs the package without constraints.txt, and runs every stage at tiny size.
#   bash launch/newest.sh          all of them at once
#   bash launch/newest.sh 3.13     one
set -euo pipefail
SCRIPT="$(realpath "${BASH_SOURCE[0]}")"
cd "$(dirname "$SCRIPT")/.."
if [ $# = 0 ]; then
  printf '%s\n' 3.11 3.12 3.13 | xargs -P 3 -n 1 bash "$SCRIPT" ||
    { echo "error: vipjax does not run with the newest packages: see above." >&2; exit 1; }
  exit
fi

source launch/pythons.sh
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
TEMPORARY="$(mktemp -d)"
trap 'rm -rf "$TEMPORARY"' EXIT
PYTHON="$TEMPORARY/environment/bin/python"
LOG="$TEMPORARY/log"

say() { echo "Python $VERSION, newest packages: $*"; }
# step WORDS COMMAND...: what it says is shown where it fails.
step() {
  local words="$1"
  shift
  "$@" >"$LOG" 2>&1 || { tail -n 30 "$LOG" >&2; say "$words failed, see above" >&2; exit 1; }
}

VERSION="$1"
BASE_PYTHON="$(python_of "$VERSION")" || { say "not tried, there is no such Python here"; exit; }
# Where vipjax is not beside them, so that the installed one runs; setuptools leaves files behind.
mkdir "$TEMPORARY/source" "$TEMPORARY/clone"
cp -r setup.py README.md vipjax third_party "$TEMPORARY/source"
cp -r configs launch "$TEMPORARY/clone"
cd "$TEMPORARY/clone"
step "making an environment" "$BASE_PYTHON" -m venv "$TEMPORARY/environment"
step "installing" "$PYTHON" -m pip install --quiet --no-compile "$TEMPORARY/source"
# Compiling takes most of the time.
export XLA_FLAGS=--xla_backend_optimization_level=0 VIPJAX_CACHE="$TEMPORARY/cache"
step "record, finetune, evaluate, train_policy or report (the last begun)" \
  "$PYTHON" -m launch.pipeline --config=configs/demo.py --workdir="$TEMPORARY/run" \
  --config.record.size=48 --config.env.horizon=100 --config.evaluate.unseen_episodes=1 \
  --config.encoder.init=scratch --config.encoder.width=8 --config.encoder.embedding_dim=8 \
  --config.encoder.size=32 --config.encoder.resize=32 \
  --config.finetune.steps=2 --config.finetune.batch_size=2 --config.finetune.tcc.frames=4 \
  --config.policy.num_envs=2 --config.policy.steps=12 --config.policy.warmup_steps=4 \
  --config.policy.batch_size=8 --config.policy.eval_every=12 --config.policy.eval_episodes=2 \
  --config.policy.final_episodes=2
step "curves" "$PYTHON" -m launch.curves --videos="$TEMPORARY/run/videos" \
  --max_frames=10 --out="$TEMPORARY/curves"
say "$("$PYTHON" - "$TEMPORARY" <<'PYTHON'
import importlib.metadata, json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
results = json.loads((folder / "run" / "results.json").read_text())
version = importlib.metadata.version
print(
  f"record {results['record_videos']} videos,",
  f"finetune {results['finetune_steps']} steps,",
  f"evaluate rank correlation {results['rank_correlation_unseen']:.2f},",
  f"train_policy {results['env_steps']} steps,",
  f"report {(folder / 'run' / 'report.html').stat().st_size // 1000} kB,",
  f"curves {len(list((folder / 'curves' / 'films').iterdir()))} films",
  "(" + ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "numpy", "av")) + ")",
)
PYTHON
) in $SECONDS s"
