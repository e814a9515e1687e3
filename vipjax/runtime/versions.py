"""The software and devices of a run: packages, Python, commit, devices."""

from __future__ import annotations

import datetime
import importlib.metadata
import pathlib
import platform
import re
import subprocess
from typing import Any

import jax

_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")


def current_versions() -> dict[str, Any]:
  """Returns this process's packages, Python, platform, git commit, devices and date (UTC)."""
  packages = {}
  try:
    required = importlib.metadata.requires("vipjax") or []
  except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
    required = []
  names = [_REQUIREMENT_NAME.match(line).group() for line in required if "extra ==" not in line]
  for name in sorted({"vipjax", "jaxlib", *names}, key=str.lower):
    try:
      packages[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      packages[name] = None
  return {
    "packages": packages,
    "python": platform.python_version(),
    "platform": platform.platform(),
    "git_commit": _git_commit(),
    "devices": [f"{device.platform}:{device.device_kind}" for device in jax.devices()],
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }


def _git_commit() -> str | None:
  """Returns the commit of this package's checkout, with "-dirty" if changed; None without one."""
  root = pathlib.Path(__file__).resolve().parents[2]
  if not (root / ".git").exists():
    return None
  command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
  except (OSError, subprocess.SubprocessError):  # no git, or no commit yet
    return None
  return done.stdout.strip()
