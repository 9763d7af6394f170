"""Every recipe "To add …" of the rooms' READMEs is followed literally, in a copy of the project, and seen to work."""

import pytest
from helpers.recipes import Recipe, copy_of_the_project, follow, recipes

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("recipe", recipes(), ids=str)
def test_a_recipe_followed_to_the_letter_works(recipe, tmp_path):
    follow(recipe, copy_of_the_project(tmp_path))


@pytest.mark.parametrize(
    "steps, fault",
    [
        ([("Create `new.py`:", "x = 1\n"), ("Run:", "python new.py no.py && python no.py\n")], "ended with status"),
        ([("In `a.py`, add to `OTHERS`:", "    3,\n")], "has no OTHERS"),
        ([("In `a.py`, after `nowhere`:", "y = 2\n")], "0 lines hold"),
        ([("Run:", "echo one\n"), ("It prints:", "two\n")], "'two' was not printed"),
        ([("Run:", "printf 'b\\na\\n'\n"), ("It prints:", "a\nb\n")], "'b' was not printed"),
        ([("And so on.", "x\n")], "nothing says what to do"),
    ],
)
def test_a_recipe_that_does_not_work_is_found(steps, fault, tmp_path):
    (tmp_path / "a.py").write_text("THINGS = (\n    1,\n    2,\n)\n")
    with pytest.raises(AssertionError, match=fault):
        follow(Recipe("room", "To add a thing", tuple(steps)), tmp_path)


def test_a_recipe_that_works_changes_what_it_says(tmp_path):
    (tmp_path / "a.py").write_text("THINGS = (\n    1,\n    2,\n)\nprint(THINGS)\n")
    steps = [
        ("In `a.py`, add to `THINGS`:", "    3,\n"),
        ("In `a.py`, after `print(THINGS)`:", "print('end')\n"),
        ("Run:", "python a.py\n"),
        ("It prints:", "(1, 2, 3)\nend\n"),
    ]
    follow(Recipe("room", "To add a thing", tuple(steps)), tmp_path)
