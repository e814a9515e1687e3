#!/usr/bin/env bash
# Renews constraints.txt with what pip picks today on Python 3.11, 3.12 and 3.13, which must all be
# there; run the tests on each before you commit it:
#   bash launch/constraints.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/pythons.sh
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
TEMPORARY="$(mktemp -d)"
trap 'rm -rf "$TEMPORARY"' EXIT

for version in 3.11 3.12 3.13; do
  python="$(python_of $version)" || { echo "error: Python $version is not here." >&2; exit 1; }
  "$python" -m venv "$TEMPORARY/$version"
  # Older ones do not know --report.
  "$TEMPORARY/$version/bin/python" -m pip install --quiet --upgrade pip
  "$TEMPORARY/$version/bin/python" -m pip install --quiet --dry-run --ignore-installed \
    --report "$TEMPORARY/$version.json" '.[test]'
done

"$TEMPORARY/3.13/bin/python" - "$TEMPORARY" >"$TEMPORARY/constraints.txt" <<'PYTHON'
import json, pathlib, re, sys

canonical = lambda name: re.sub(r"[-_.]+", "-", name).lower()
pins, asked = {}, {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
  for item in json.loads(path.read_text())["install"]:
    about = item["metadata"]
    pins.setdefault(canonical(about["name"]), {})[path.stem] = about["version"]
    for line in about.get("requires_dist", ()):
      name, marker = canonical(re.match(r"[\w.-]+", line)[0]), line.partition(";")[2]
      if "extra" not in marker:
        asked.setdefault(name, []).append("platform" in marker)
del pins["vipjax"]

print("# What demo.sh and test.sh install; `pip install .` alone is free. Made by constraints.sh.")
for name, versions in sorted(pins.items()):
  # What is asked for on some platforms only says nothing about the others.
  here = f'sys_platform == "{sys.platform}"' if all(asked.get(name, [False])) else ""
  for version in sorted(set(versions.values())):
    pythons = [python for python in versions if versions[python] == version]
    of = " or ".join(f'python_version == "{python}"' for python in pythons)
    of = "" if len(pythons) == 3 else f"({of})" if here and len(pythons) > 1 else of
    marker = " and ".join(filter(None, (of, here)))
    print(f"{name}=={version}" + (f" ; {marker}" if marker else ""))
PYTHON
mv "$TEMPORARY/constraints.txt" launch/constraints.txt
