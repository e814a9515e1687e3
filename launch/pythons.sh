# Sourced by constraints.sh and newest.sh.

# python_of 3.12: prints that Python, of the PATH or of pyenv; fails where there is none that works.
python_of() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python3; do
    if "$candidate" - "$1" 2>/dev/null <<'PYTHON'
import ensurepip, sys, venv
sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])
PYTHON
    then
      echo "$candidate"
      return
    fi
  done
  return 1
}
