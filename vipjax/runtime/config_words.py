"""Checks --config and --config.key=value on a command line and reports errors in one sentence.

ml_collections reports them with a traceback from inside the parsing of flags, or much later.
"""

from __future__ import annotations

import difflib
import inspect
import os
import pathlib
import re
import runpy
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_dict

from vipjax.runtime.errors import UserError
from vipjax.runtime.renamed_keys import check_key

CONFIG = re.compile(r"--?config(=(?P<file>.*))?$", re.DOTALL)
_OVERRIDE = re.compile(r"--?(no)?config\.(?P<key>[^=]+)(=|$)")
_ILLEGAL_VALUE = re.compile(r"flag --(?P<flag>[^=]+)=(?P<value>.*?): ", re.DOTALL)
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check(argv: Sequence[str]) -> None:
  """Raises UserError for a config that cannot be loaded and for keys that it does not have."""
  if "config" not in flags.FLAGS:
    return
  file, keys = None, []
  for position, arg in enumerate(argv[1:], start=1):
    if match := CONFIG.match(arg):
      if keys:
        raise UserError(
          f"expected --config before --config.{keys[0]}, got it after; swap the two flags."
        )
      file = match["file"] if match["file"] is not None else _next(argv, position)
    elif match := _OVERRIDE.match(arg):
      keys.append(match["key"])
  if file is None:
    if keys:
      raise UserError(f"expected --config=FILE before --config.{keys[0]}, got none; add it.")
    return
  if not file:
    raise UserError("expected --config=FILE, got no file; give one such as configs/demo.py.")
  known = _keys(_load(file))
  for key in keys:
    # A bracket picks an item of a tuple; the key before the bracket has to exist.
    if key.split("[")[0] not in known:
      check_key(key)
      raise _unknown_key(key, known, file)
    if "[" in key and isinstance(value := known[key.split("[")[0]], tuple):
      raise UserError(
        f"expected all numbers of a tuple, got one in --config.{key}; give all, such as "
        f"--config.{key.split('[')[0]}={value}."
      )
    if isinstance(known.get(key), config_dict.ConfigDict):
      inner = next(iter(known[key]), "key")
      raise UserError(
        f"expected a key with a value, got the section '{key}' of {file}; set one of its keys, "
        f"such as --config.{key}.{inner}."
      )


def _next(argv: Sequence[str], position: int) -> str:
  following = argv[position + 1] if position + 1 < len(argv) else ""
  return "" if following.startswith("-") else following


def _load(file_and_preset: str) -> config_dict.ConfigDict:
  file, colon, preset = file_and_preset.partition(":")
  if not pathlib.Path(file).is_file():
    raise UserError(
      f"expected a config file, got none at '{file}' seen from {os.getcwd()}; give a path such as "
      "configs/demo.py."
    )
  get_config = runpy.run_path(file).get("get_config")
  if get_config is None:
    raise UserError(f"expected a function get_config in {file}, got none; add it.")
  if colon and not inspect.signature(get_config).parameters:
    raise UserError(f"expected no preset, as {file} has none, got '{preset}'; leave it out.")
  return get_config(preset) if colon else get_config()


def _keys(config: config_dict.ConfigDict, prefix: str = "") -> dict[str, Any]:
  """Returns all keys of the config, sections included, as {"finetune.steps": value}."""
  keys = {}
  for key, value in config.items():
    keys[prefix + key] = value
    if isinstance(value, config_dict.ConfigDict):
      keys |= _keys(value, f"{prefix}{key}.")
  return keys


def _unknown_key(key: str, known: dict[str, Any], file: str) -> UserError:
  near = difflib.get_close_matches(key, known, n=1)
  # The key may exist in another section.
  near = near or [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
  advice = (
    f"did you mean --config.{near[0]}?"
    if near
    else f"its sections are {', '.join(sorted({name.split('.')[0] for name in known}))}."
  )
  return UserError(f"expected a key of {file}, got '{key}', which it does not have; {advice}")


def illegal_value(error: flags.IllegalFlagValueError, argv: Sequence[str]) -> UserError:
  """Returns the error for a value whose type differs from its key's."""
  match = _ILLEGAL_VALUE.match(str(error))
  if match is None:
    return UserError(" ".join(str(error).split()))
  said = str(error)[match.end() :].rstrip(".")
  if "must have a value" in said:
    return UserError(f"expected --{match['flag']}=VALUE, got none; --help says what it takes.")
  flag, kind, now = match["flag"], bool, ""
  if not flag.startswith("config.") and flags.FLAGS[flag].flag_type() != "bool":
    return UserError(f"expected another --{flag}, got '{match['value']}'; {said}.")
  if flag.startswith("config."):
    files = [m["file"] or _next(argv, i) for i, arg in enumerate(argv) if (m := CONFIG.match(arg))]
    *sections, key = flag.split("[")[0].split(".")[1:]
    section = _load(files[-1])
    for name in sections:
      section = section[name]
    kind, now = section.get_type(key), f" (the config has {section[key]!r})"
  return UserError(
    f"expected {_KINDS.get(kind, f'a {kind.__name__}')} for --{flag}{now}, got "
    f"'{match['value']}'; change it or leave it out."
  )
