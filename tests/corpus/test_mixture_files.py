import json

import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import mixture_files


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"stages": []},
        {"stages": [3]},
        {"stages": [{"tokens": 0}]},
        {"stages": [{"tokens": 0, "weights": {"python": "1"}}]},
        {"stages": [{"tokens": 5, "weights": {"python": 1}}]},
        {"stages": [{"tokens": float("inf"), "weights": {"python": 1}}, {"tokens": 0, "weights": {"python": 1}}]},
        {"stages": [{"tokens": float("nan"), "weights": {"python": 1}}, {"tokens": 0, "weights": {"python": 1}}]},
    ],
)
def test_what_is_not_a_mixture_file_is_refused(tmp_path, content):
    (tmp_path / "m.json").write_text(json.dumps(content))
    wanted = (
        r"the mixture file .*m.json(: stages\S*)? must (be|have)|only the last stage|is not a number in JSON|is damaged"
    )
    with pytest.raises(UserError, match=wanted):
        mixture_files.read(tmp_path / "m.json")
