"""Downloads that are begun before they are asked for: one at a time, and what went wrong is raised by who takes it."""

import threading

import pytest

from babel_jax.common.errors import UserError
from babel_jax.measuring.fetch_ahead import Ahead


def test_what_was_begun_is_taken_and_not_fetched_again():
    fetched = []
    ahead = Ahead(lambda key, stop: fetched.append(key) or f"folder {key}")
    ahead.begin(1)
    assert ahead.key == 1 and ahead.take(1) == "folder 1" and ahead.key is None
    assert ahead.take(2) == "folder 2" and fetched == [1, 2]


def test_another_one_stops_what_is_under_way():
    begun, stopped = threading.Event(), []

    def fetch(key, stop):
        begun.set()
        if key == 1:
            stopped.append(stop.wait(60))
        return key

    ahead = Ahead(fetch)
    ahead.begin(1)
    assert begun.wait(60)
    with pytest.raises(RuntimeError, match="1 is being fetched, so 2 cannot be"):
        ahead.begin(2)
    assert ahead.take(2) == 2 and stopped == [True]
    ahead.begin(1)
    ahead.close()
    assert stopped == [True, True] and ahead.key is None


def test_an_error_is_raised_where_the_folder_is_taken():
    def fetch(key, stop):
        raise UserError(f"{key} is gone.")

    ahead = Ahead(fetch)
    ahead.begin(1)
    with pytest.raises(UserError, match="1 is gone"):
        ahead.take(1)
    assert ahead.key is None
