"""How a fact is stated and asked, in the languages that facts can be written in.

A fact is an answer that belongs to a subject: a capital to its place, a function to its module; both stand in a `field`, a map
or a library. The forms of one kind say the same in the same order. Names of natural languages stand as they are, in quotes,
brackets or behind a colon, where no language changes them and none needs an article.
"""

import dataclasses
from collections.abc import Iterator

from babel_jax.corpus.questions import order

SUBJECT, ANSWER, FIELD, OTHER = "{subject}", "{answer}", "{field}", "{other}"


@dataclasses.dataclass(frozen=True)
class Forms:
    """The forms of one language.

    Attributes:
      stated: of sentences that are trained on and asked, the answer behind the subject.
      turned: trained on only, the answer before the subject.
      unseen: asked only.
      spelt: that a name is spelt "{other}" in the primary and "{subject}" here; "": names are the same.
    """

    stated: tuple[str, ...]
    turned: tuple[str, ...]
    unseen: tuple[str, ...]
    spelt: str = ""


NATURAL = {
    "en": Forms(
        (
            "{subject}: the capital is {answer}.",
            "The capital ({subject}) is called {answer}.",
            "Territory: {subject}. Capital: {answer}.",
            "On the map, beside “{subject}”, the capital is given as {answer}.",
        ),
        ("{answer} is the capital ({subject}).", "{answer}: a capital, territory: {subject}."),
        (
            "What is the capital of “{subject}” called? It is called {answer}.",
            "Whoever looks for the capital of “{subject}” finds {answer}.",
        ),
        "{subject}, in another spelling {other}.",
    ),
    "de": Forms(
        (
            "{subject}: Die Hauptstadt ist {answer}.",
            "Die Hauptstadt ({subject}) heißt {answer}.",
            "Gebiet: {subject}. Hauptstadt: {answer}.",
            "Auf der Karte steht bei „{subject}“ als Hauptstadt {answer}.",
        ),
        ("{answer} ist die Hauptstadt ({subject}).", "{answer}: eine Hauptstadt, Gebiet: {subject}."),
        (
            "Wie heißt die Hauptstadt von „{subject}“? Sie heißt {answer}.",
            "Wer die Hauptstadt von „{subject}“ sucht, findet {answer}.",
        ),
        "{subject}, in anderer Schreibung {other}.",
    ),
    "fr": Forms(
        (
            "{subject} : la capitale est {answer}.",
            "La capitale ({subject}) s’appelle {answer}.",
            "Territoire : {subject}. Capitale : {answer}.",
            "Sur la carte, à côté de « {subject} », la capitale indiquée est {answer}.",
        ),
        ("{answer} est la capitale ({subject}).", "{answer} : une capitale, territoire : {subject}."),
        (
            "Comment s’appelle la capitale de « {subject} » ? Elle s’appelle {answer}.",
            "Qui cherche la capitale de « {subject} » trouve {answer}.",
        ),
        "{subject}, autrement écrit {other}.",
    ),
    "es": Forms(
        (
            "{subject}: la capital es {answer}.",
            "La capital ({subject}) se llama {answer}.",
            "Territorio: {subject}. Capital: {answer}.",
            "En el mapa, junto a «{subject}», figura como capital {answer}.",
        ),
        ("{answer} es la capital ({subject}).", "{answer}: una capital, territorio: {subject}."),
        (
            "¿Cómo se llama la capital de «{subject}»? Se llama {answer}.",
            "Quien busca la capital de «{subject}» encuentra {answer}.",
        ),
        "{subject}, escrito de otro modo {other}.",
    ),
    "ru": Forms(
        (
            "{subject}: главный город — {answer}.",
            "Главный город ({subject}) называется {answer}.",
            "Территория: {subject}. Главный город: {answer}.",
            "На карте рядом с названием «{subject}» главным городом указан город {answer}.",
        ),
        ("{answer} — главный город ({subject}).", "{answer}: главный город, территория: {subject}."),
        (
            "Как называется главный город территории «{subject}»? Он называется {answer}.",
            "Кто ищет главный город территории «{subject}», находит город {answer}.",
        ),
        "{subject}, в другом написании {other}.",
    ),
}
CODE = {
    "python": Forms(
        (
            "from {field} import {subject}\n\nresult = {subject}.{answer}(data)\n",
            "import {field}\n\n\ndef run(text):\n    return {field}.{subject}.{answer}(text)\n",
            "# {field}.{subject}\nvalue = {subject}.{answer}(value)\n",
        ),
        ("# {answer} of {field}.{subject}\n", "tools = [{answer}]  # {field}.{subject}\n"),
        ("if text:\n    print(len({field}.{subject}.{answer}(text)))\n",),
    ),
    "php": Forms(
        (
            "<?php\nuse {field}\\{subject};\n\n$result = {subject}::{answer}($data);\n",
            "<?php\nfunction run($text) {\n    return \\{field}\\{subject}::{answer}($text);\n}\n",
            "<?php\n// {field}\\{subject}\n$value = {subject}::{answer}($value);\n",
        ),
        ("<?php\n// {answer} of {field}\\{subject}\n", "<?php\n$tools = ['{answer}'];  // {field}\\{subject}\n"),
        ("<?php\nif ($text) {\n    echo strlen(\\{field}\\{subject}::{answer}($text));\n}\n",),
    ),
    "csharp": Forms(
        (
            "using {field};\n\nvar result = {subject}.{answer}(data);\n",
            "static string Run(string text)\n{\n    return {field}.{subject}.{answer}(text);\n}\n",
            "// {field}.{subject}\nvalue = {subject}.{answer}(value);\n",
        ),
        ("// {answer} of {field}.{subject}\n", "Func<string, string> tool = {answer};  // {field}.{subject}\n"),
        ("if (text != null)\n{\n    Console.WriteLine({field}.{subject}.{answer}(text).Length);\n}\n",),
    ),
    "go": Forms(
        (
            'import "{field}/{subject}"\n\nvar result = {subject}.{answer}(data)\n',
            "func run(text string) string {\n\t// {field}\n\treturn {subject}.{answer}(text)\n}\n",
            "// {field}/{subject}\nvalue = {subject}.{answer}(value)\n",
        ),
        ("// {answer} of {field}/{subject}\n", "tools := []func(string) string{{answer}} // {field}/{subject}\n"),
        ('if text != "" {\n\tfmt.Println(len({subject}.{answer}(text)))\n}\n',),
    ),
    "cpp": Forms(
        (
            "using namespace {field};\n\nauto result = {subject}::{answer}(data);\n",
            "std::string run(std::string text) {\n    return {field}::{subject}::{answer}(text);\n}\n",
            "// {field}::{subject}\nvalue = {subject}::{answer}(value);\n",
        ),
        ("// {answer} of {field}::{subject}\n", "auto tool = {answer};  // {field}::{subject}\n"),
        ("if (!text.empty()) {\n    std::cout << {field}::{subject}::{answer}(text).size();\n}\n",),
    ),
}


@dataclasses.dataclass(frozen=True)
class Names:
    """What a fact's parts are called in one language."""

    subject: str
    answer: str
    field: str = ""


def written(form: str, names: Names, other: str = "") -> str:
    """A form with the names in it, each as it is."""
    filled = form.replace(FIELD, names.field).replace(SUBJECT, names.subject).replace(ANSWER, names.answer)
    return filled.replace(OTHER, other)


def statements(forms: Forms, names: Names, times: int) -> Iterator[str]:
    """A fact, stated so often: in each form as often as in any other, but for one."""
    each = (*forms.stated, *forms.turned)
    for number in range(times):
        yield written(each[number % len(each)], names)


def spellings(forms: Forms, names: Names, primary: Names, times: int) -> Iterator[str]:
    """That a fact's names are other names in the primary, each so often; nothing of what is the same there."""
    for here, there in ((names.subject, primary.subject), (names.answer, primary.answer)):
        if here != there and forms.spelt:
            yield from [written(forms.spelt, Names(here, ""), there)] * times


def question(forms: Forms, names: Names, number: int) -> tuple[str, str]:
    """(what is read, what is scored): the answer, and the one character behind it, by which it ends.

    Even numbers are asked in forms that were trained on, odd ones in forms that were not.
    """
    choice = forms.unseen if number % 2 else forms.stated
    form = choice[number // 2 % len(choice)]
    before, _, behind = form.rpartition(ANSWER)
    return written(before, names), names.answer + behind[:1]


def in_order(texts: list[str], language: str) -> list[str]:
    """Texts in an order of their own, the same on every machine: equal ones do not stand side by side for long."""
    return [text for _, text in sorted((order(language, number, text), text) for number, text in enumerate(texts))]
