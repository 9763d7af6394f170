"""Names in running text."""

from babel_jax.corpus.mentions import Mentions


def test_both_names_must_stand_in_one_paragraph():
    looking = Mentions([("Hessen", "Wiesbaden"), ("New York", "Albany")])
    assert looking.found(["Hessen is a state.\n\nWiesbaden is a city.", "New York and Albany"]) == {1}
    assert looking.found(["Albany, New\nYork"]) == {1}  # over the end of a line
    assert looking.found(["In Hessens Hauptstadt wiesbaden", "New Jersey, York, Albany"]) == {0}
    assert looking.found(["Hessenberger Wiesbadenerinnen"]) == set()  # other words


def test_cyrillic_names_are_found_in_other_cases():
    looking = Mentions([("Бавария", "Мюнхен"), ("Москва", "Тула")], "cyrillic")
    assert looking.found(["Столица Баварии находится в Мюнхене."]) == {0}
    assert looking.found(["О Москве и Туле"]) == set() and looking.found(["О Москве и Тула"]) == {1}


def test_names_of_a_script_without_spaces_stand_anywhere():
    looking = Mentions([("法国", "巴黎")], "chinese")
    assert looking.found(["在法国的首都巴黎"]) == {0} and looking.found(["法国\n\n巴黎"]) == set()
