#!/usr/bin/env bash
# Four videos to a policy: sets everything up, then runs the demo. Flags go to the pipeline:
#   bash launch/demo.sh --overwrite
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" run
exec "$PYTHON" -m launch.pipeline --config=configs/demo.py "$@"
