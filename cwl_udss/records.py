# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses that are made in a fifth of the time, for what short commands import.

`dataclasses` writes the text of each method, and has it compiled, in some 0.3 ms for a class; a
container whose command is `true` needs fifty of them, and may take 60 ms in all. Here the methods
are functions that go through the fields. To a type checker, and to all functions of `dataclasses`,
there is no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["record"]

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    import dataclasses
    from functools import partial

    def record(cls=None, /, *, frozen=True, kw_only=False):
        """As dataclasses.dataclass(frozen=True), of whose other options only these are known."""
        assert frozen
        if cls is None:
            return partial(record, kw_only=kw_only)
        return _with_methods(
            dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        )

    def _with_methods(cls):
        fields = dataclasses.fields(cls)
        compared = tuple(field.name for field in fields if field.compare)
        shown = tuple(field.name for field in fields if field.repr)
        positional = tuple(field.name for field in fields if not field.kw_only)
        after = getattr(cls, "__post_init__", None)

        def __init__(self, *values, **given):
            if len(values) > len(positional):
                raise TypeError(f"{cls.__name__}() takes {len(positional)} positional arguments")
            given.update(zip(positional, values))  # noqa: B905 - there may be fewer
            content = self.__dict__
            for field in fields:
                if field.name in given:
                    content[field.name] = given.pop(field.name)
                elif field.default is not dataclasses.MISSING:
                    content[field.name] = field.default
                elif field.default_factory is not dataclasses.MISSING:
                    content[field.name] = field.default_factory()
                else:
                    raise TypeError(f"{cls.__name__}() lacks the argument {field.name!r}")
            if given:
                raise TypeError(
                    f"{cls.__name__}() got an unexpected argument {next(iter(given))!r}"
                )
            if after is not None:
                after(self)

        def key(self):
            content = self.__dict__
            return tuple([content[name] for name in compared])

        def __eq__(self, other):
            return key(self) == key(other) if other.__class__ is cls else NotImplemented

        def __hash__(self):
            return hash(key(self))

        def __repr__(self):
            parts = (f"{name}={self.__dict__[name]!r}" for name in shown)
            return f"{cls.__qualname__}({', '.join(parts)})"

        def refuse(self, name, *_):
            raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")

        methods = (__init__, __eq__, __hash__, __repr__)
        for method in methods:
            if method.__name__ not in cls.__dict__ or method is __hash__:
                setattr(cls, method.__name__, method)
        cls.__setattr__ = cls.__delattr__ = refuse
        return cls
