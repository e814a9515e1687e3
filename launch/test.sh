#!/usr/bin/env bash
# Sets everything up, then checks the code and runs the tests. Arguments go to pytest:
#   bash launch/test.sh tests/losses
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" test
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
exec "$PYTHON" -m pytest -q "$@"
