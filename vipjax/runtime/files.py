"""Atomic writing of files, and nested dicts as JSON, with null for NaN."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pathlib
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from vipjax.runtime.errors import UserError


def jsonable(value: Any) -> Any:
  """Converts a value to types that JSON has.

  Arrays (NumPy or JAX) become numbers or nested lists, tuples become lists, paths and keys become
  strings. NaN and infinities become None, because JSON cannot express them.

  Raises:
    TypeError: a value of any other type.
  """
  if isinstance(value, ml_collections.ConfigDict):
    value = value.to_dict()
  if isinstance(value, dict):
    return {str(key): jsonable(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [jsonable(item) for item in value]
  if isinstance(value, np.ndarray | np.generic | jax.Array):
    return jsonable(np.asarray(value).tolist())
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if value is None or isinstance(value, str | bool | int):
    return value
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  raise TypeError(f"expected a value that JSON can hold, got {type(value).__name__}; convert it.")


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested dicts to {"a.b": value}; an empty dict is a value."""
  flat = {}
  for key, value in values.items():
    if isinstance(value, dict) and value:
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Replaces the file atomically: a reader finds the old content or the new, never a part."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # tempfile would make a file that only its owner can read.
  temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
  try:
    with temporary.open("xb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text as `write_bytes`; bytes of file names that are not UTF-8 become \\udc80."""
  write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes `jsonable(value)` to the file atomically; makes missing folders."""
  write_text(path, json.dumps(jsonable(value), indent=2, allow_nan=False) + "\n")


def write_csv(
  path: str | os.PathLike, header: Sequence[Any], rows: Iterable[Sequence[Any]]
) -> None:
  """Writes a table as `write_text`; it has lines as Unix ends them."""
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows([header, *rows])
  write_text(path, text.getvalue())


def read_json(path: str | os.PathLike, default: Any = None) -> Any:
  """Reads a JSON file; one that is missing holds `default`, unless that is None.

  Raises:
    UserError: the file does not exist and there is no default, or it does not hold JSON.
  """
  try:
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
  except FileNotFoundError as error:
    if default is not None:
      return default
    raise UserError(f"expected a JSON file at {path}, got none; restore it.") from error
  except ValueError as error:
    raise UserError(
      f"expected JSON in {path}, got something else ({error}); remove the file or restore it."
    ) from error
