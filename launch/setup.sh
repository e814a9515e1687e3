# Sourced by demo.sh and test.sh: makes this clone ready to run, and does nothing when it is.
#
#   source setup.sh run     installs the package
#   source setup.sh test    installs it with what the tests need
#
# Afterwards the current folder is the root of the clone and $PYTHON is its Python.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT="$(pwd -P)"
PYTHON="$ROOT/.venv/bin/python"
STAMP="$ROOT/.venv/installed"
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say() { echo "setup: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }

# Debian's packages are installed only where that needs no password.
may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

install_debian() {
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  say "installing Debian's $*"
  { "${sudo[@]}" apt-get -qq update &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -y --no-install-recommends install "$@"; } >/dev/null
}

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "vipjax needs Python 3.11, 3.12 or 3.13, but none is on the PATH: install one, such as" \
    "Debian's python3 and python3-venv."
}

make_environment() {
  if ! "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    may_install && install_debian python3-venv || true
    "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
      fail "making a virtual environment needs Python's ensurepip, which $BASE_PYTHON has not:" \
        "install Debian's python3-venv."
  fi
  say "making the virtual environment .venv"
  # --clear: one that was moved here, or that has no pip, is made anew.
  "$BASE_PYTHON" -m venv --clear .venv
}

# GL libraries with which MuJoCo renders without a display: OSMesa or EGL.
can_render() {
  "$BASE_PYTHON" - 2>/dev/null <<'PYTHON'
import ctypes, ctypes.util
for name in filter(None, map(ctypes.util.find_library, ("OSMesa", "EGL"))):
  try:
    ctypes.CDLL(name)
  except OSError:
    continue
  break
else:
  raise SystemExit(1)
PYTHON
}

install_gl() {
  local packages=(libegl1 libgl1 libglvnd0 libgl1-mesa-dri libgles2)
  if [ -n "${MUJOCO_GL:-}" ] || can_render; then return; fi
  if may_install; then
    # Newer releases of Debian have no OSMesa any more; EGL is enough there.
    install_debian libosmesa6 "${packages[@]}" || install_debian "${packages[@]}" || true
  fi
  can_render ||
    fail "MuJoCo needs a headless GL library (OSMesa or EGL) to render, but none can be loaded:" \
      "run 'apt-get install libosmesa6 ${packages[*]}' as root, then this command again."
}

# The versions are those of constraints.txt, so that what ran once runs in a year; constraints.sh
# renews it. The stamp is written last, so a half-made environment has none. It names the folder
# too, for a virtual environment does not work where it was moved to.
install_package() {
  local what="$1" wanted package=.
  wanted="$ROOT $(cat setup.py launch/constraints.txt | cksum)"
  if [ -x "$PYTHON" ] && "$PYTHON" -c '' 2>/dev/null && [ -f "$STAMP" ]; then
    case "$(cat "$STAMP")" in
      "$wanted test") return ;;
      "$wanted run") [ "$what" = test ] || return 0 ;;
      "$ROOT "*) ;;
      *) make_environment ;;
    esac
  elif [ -x "$PYTHON" ] && "$PYTHON" -m pip --version >/dev/null 2>&1; then
    say "completing the virtual environment .venv"
  else
    make_environment
  fi
  rm -f "$STAMP"
  say "installing the package and what it needs (a minute or two)"
  if [ "$what" = test ]; then package='.[test]'; fi
  "$PYTHON" -m pip install --quiet --constraint launch/constraints.txt --editable "$package" ||
    fail "pip could not install the package (see above): mend that, then run this again."
  echo "$wanted $what" >"$STAMP"
}

BASE_PYTHON="$(find_python)"
install_gl
install_package "$1"
