"""What is computed once and read afterwards."""

import pytest

from evaluation.remembered import remembered


def test_what_is_remembered(tmp_path):
    assert remembered(tmp_path, {"a": 1}, lambda: [1.5, None]) == [1.5, None]
    assert remembered(tmp_path, {"a": 1}, None) == [1.5, None]
    assert remembered(tmp_path, {"a": 2}, lambda: {"b": 3}) == {"b": 3}
    with pytest.raises(KeyError):
        remembered(tmp_path, {"a": 3}, lambda: {}["missing"])
    assert len([*tmp_path.iterdir()]) == 2
