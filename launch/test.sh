#!/usr/bin/env bash
# Sets everything up, then checks the code and runs the tests, in two processes at once. Arguments
# go to pytest instead, which then runs alone:
#   bash launch/test.sh tests/losses
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" test
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
# Most of the time is compilation, which takes one core at a time.
if [ $# = 0 ]; then set -- -n 2 --dist loadfile --durations=20; fi
exec "$PYTHON" -m pytest -q "$@"
