"""YAML that refuses what it would silently take for something else."""

import re

import yaml

from babel_jax.common import files

ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    yaml.YAMLError,
)  # of `parse`, for a text that is not such YAML


def parse(text: str):
    """The value that a YAML text holds. Raises one of `ERRORS`."""
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which the first would be lost (one that `<<` brings may be given anew); 010, which would
    be 8, and 1:30, which would be 90."""

    def construct_mapping(self, node, deep=False):
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        files.once([(self.construct_object(key, True), None) for key in own])
        return super().construct_mapping(node, deep=True)

    def flatten_mapping(self, node):
        """Each key once: tables that merge the same tables again and again would grow without end."""
        super().flatten_mapping(node)
        named = {key.value if isinstance(key, yaml.ScalarNode) else id(key): (key, value) for key, value in node.value}
        node.value = list(named.values())

    def construct_number(self, node):
        if re.fullmatch(r"[-+]?(0[0-9_]+|.*:.*)", node.value):
            raise ValueError(
                f"{node.value} is a number of base 8 or 60 in YAML; write it in base 10, or as text in quotes"
            )
        return self.yaml_constructors[f"{node.tag} as in YAML"](self, node)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(f"{_tag} as in YAML", _Loader.yaml_constructors[_tag])
    _Loader.add_constructor(_tag, _Loader.construct_number)
