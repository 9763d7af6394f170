from pathlib import Path

import pytest
from helpers.browser import browser

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """No report may warn: an empty slice or an interval of one value is to be seen, and said, before it is computed."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error::RuntimeWarning"))


@pytest.fixture(scope="module")
def tab():
    with browser() as opened:
        yield opened
