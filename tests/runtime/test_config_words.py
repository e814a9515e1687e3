"""Overrides on the command line, whatever they are: known ones pass, others are one sentence."""

import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import config_flags

from configs import demo
from vipjax.runtime import config_words, launcher
from vipjax.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
KNOWN = config_words._keys(demo.get_config())
LEAVES = sorted(key for key, value in KNOWN.items() if not hasattr(value, "keys"))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)


@pytest.fixture(scope="module", autouse=True)
def flags():
  if "config" not in config_words.flags.FLAGS:
    launcher.define_flags()


def command(*overrides):
  return ["launch", f"--config={ROOT / 'configs' / 'demo.py'}", *overrides]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LEAVES), max_size=4), words)
def test_keys_that_are_there_pass(keys, value):
  config_words.check(command(*(f"--config.{key}={value}" for key in keys)))


@settings(max_examples=40, deadline=None)
@given(st.lists(words, min_size=1, max_size=3).map(".".join).filter(lambda key: key not in KNOWN))
def test_keys_that_are_not_are_one_sentence(key):
  with pytest.raises(UserError) as error:
    config_words.check(command(f"--config.{key}=1"))
  message = str(error.value)
  assert f"got '{key}'" in message and "\n" not in message and message.endswith((".", "?"))


def test_a_number_can_be_given_where_the_config_has_none(monkeypatch):
  def parsed(value):
    argv = ["launch", f"--config.policy.target_entropy={value}"]
    monkeypatch.setattr("sys.argv", argv)  # where ml_collections looks for overrides
    values = config_words.flags.FlagValues()
    config_flags.DEFINE_config_dict("config", demo.get_config(), flag_values=values)
    values(argv)
    return values.config

  assert demo.get_config().policy.target_entropy is None
  assert parsed("-3").policy.target_entropy == -3.0
  with pytest.raises(config_words.flags.IllegalFlagValueError) as error:
    parsed("much")
  said = str(config_words.illegal_value(error.value, command()))
  assert said.startswith(
    "expected a number for --config.policy.target_entropy (the config has None)"
  )
