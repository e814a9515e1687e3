"""Lists of whole numbers as people write them."""

import pytest

from vipjax.runtime.errors import UserError
from vipjax.runtime.numbers import whole_numbers


def test_numbers_and_ranges():
  assert whole_numbers("episodes", "3") == [3]
  assert whole_numbers("episodes", "0, 2,5-7") == [0, 2, 5, 6, 7]


@pytest.mark.parametrize("text", ["", "1,,2", "-1", "5-3", "a", "1.5"])
def test_anything_else_is_one_sentence(text):
  with pytest.raises(UserError, match="0,2,5-7 for episodes, got"):
    whole_numbers("episodes", text)
