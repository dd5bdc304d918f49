# SPDX-License-Identifier: Apache-2.0
"""CWL's schemas without parsing them at every start, which is most of what a short run takes.

cwltool has Schema Salad read the schemas of a CWL version, some 40 texts in YAML, resolve them and
make of them what documents are read and validated with. All of that is decided by the texts and by
the versions of the code, and can be made anew, by Schema Salad's own constructors, from plain data
that JSON holds. So that is kept. See docs/upstream.md.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

import cwltool.process
from ruamel.yaml.comments import CommentedMap
from schema_salad import schema
from schema_salad.avro.schema import Names, make_avsc_object
from schema_salad.exceptions import SchemaSaladException
from schema_salad.ref_resolver import Loader
from schema_salad.utils import convert_to_dict

from cwl_udss.engine.startup.loaders import LateLoader
from cwl_udss.engine.startup.private_cache import PrivateCache
from cwl_udss.machine.user_directories import user_cache

_logger = logging.getLogger(__name__)

# To be raised when what is kept of a schema changes.
RECIPE = 1

_PACKAGES = ("schema-salad", "ruamel.yaml")

Texts: TypeAlias = dict[str, Any]
"""A schema's documents by URL."""
Loaded: TypeAlias = tuple[Loader, Names, dict[str, Any], Loader]
"""What load_schema() returns: what reads documents, what validates them, the schema's metadata, and
what has read the schema."""


def keep_schemas(environment: Mapping[str, str], home: Path) -> None:
    """Have cwltool take its schemas from a directory of this user's alone, and leave them there."""
    kept = PrivateCache(user_cache(environment, home) / "schemas")
    names = vars(cwltool.process)
    load = names.get("load_schema")
    if load is None:
        _logger.debug("this cwltool does not call load_schema(): its schemas are not kept")
    elif not isinstance(load, functools.partial):  # it is ours when called a second time
        names["load_schema"] = functools.partial(_load_schema, load, kept)


def _load_schema(
    load: Callable[..., Loaded],
    kept: PrivateCache,
    reference: str,
    cache: Texts,
    **others: Any,
) -> Loaded:
    """Be schema_salad.schema.load_schema(), as cwltool.process.get_schema() calls it."""
    key = None
    with _misfits_recorded():
        key = schema_key(reference, cache, others)
        data = kept.get(key)
        if data is not None:
            return _restored(data, cache)
    loaded = load(reference, cache=cache, **others)
    if key is not None:
        with _misfits_recorded():
            kept.put(key, _plain(reference, loaded))
    return loaded


@contextlib.contextmanager
def _misfits_recorded() -> Iterator[None]:
    """Go on without a cache where another release of Schema Salad has changed its objects."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, ImportError, SchemaSaladException):
        _logger.debug("schemas of this release cannot be kept", exc_info=True)


def schema_key(reference: str, texts: Texts, others: Mapping[str, Any]) -> str:
    """Return what stands for the arguments of load_schema(), and for the code of it."""
    versions = [version(package) for package in _PACKAGES]
    facts = [RECIPE, sys.version, versions, reference, texts, others]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _plain(reference: str, loaded: Loaded) -> Any:
    """Return what was loaded as data; see _restored()."""
    documents, _, metadata, loader = loaded
    # Only looked up: it has been resolved.
    types = cast(list[dict[str, Any]], loader.resolve_ref(reference, "")[0])
    _, language, language_loader = schema.get_metaschema()
    return convert_to_dict(
        {
            "context": documents.ctx,
            "avro": schema.make_avro(types, documents, loader.vocab),
            "metadata": metadata,
            "types": types,
            "language": {
                "context": language_loader.ctx,
                "salad_version": language_loader.salad_version,
                "texts": language_loader.cache,
                "avro": schema.make_avro(language, language_loader, language_loader.vocab),
                "types": language,
            },
        }
    )


def _restored(data: Mapping[str, Any], texts: Texts) -> Loaded:
    """Return what load_schema() does, and have done what it does besides."""
    if schema.cached_metaschema is None:
        schema.cached_metaschema = _language(**data["language"])
    language = schema.get_metaschema()[2]
    for url, text in language.cache.items():
        texts.setdefault(url, text)
    loader = LateLoader(language.ctx, cache=texts, session=language.session)
    _index(loader, data["types"])
    return (
        LateLoader(data["context"], cache=texts),
        _names(data["avro"]),
        data["metadata"],
        loader,
    )


def _language(
    context: dict[str, Any],
    salad_version: str,
    texts: Texts,
    avro: list[Any],
    types: list[dict[str, Any]],
) -> tuple[Names, list[dict[str, Any]], Loader]:
    """Return what get_metaschema() does: the same for the language that schemas are written in."""
    loader = LateLoader(context, cache=texts, salad_version=salad_version)
    _index(loader, types)
    return _names(avro), types, loader


def _names(avro: list[Any]) -> Names:
    names = Names()
    make_avsc_object(avro, names)
    return names


def _index(loader: Loader, types: list[dict[str, Any]]) -> None:
    """Let types be found by name, as cwltool finds those of files and directories."""
    loader.idx.update({type["name"]: cast(CommentedMap, type) for type in types})
