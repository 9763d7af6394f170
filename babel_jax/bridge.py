"""A record that may still be read like the dict that it was, until every reader takes its attributes: then this goes."""

import dataclasses


class Keyed:
    """`record["name"]`, `.get`, `in`, `.keys()`, `**record` and `record | {"name": value}` of a dataclass.

    A name is that of a field or of a property; `keys` are the fields alone.
    """

    def __getitem__(self, name: str):
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default=None):
        return getattr(self, name) if name in self else default

    def __contains__(self, name) -> bool:
        return name in self.keys() or isinstance(getattr(type(self), str(name), None), property)

    def keys(self) -> list[str]:
        return [field.name for field in dataclasses.fields(self)]

    def __or__(self, changes: dict):
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class PeakStep(Keyed):
    """`curves["decline"]["peak_step"]`, which is `curves.peak_step`."""

    peak_step: int
