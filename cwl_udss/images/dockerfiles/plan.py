# SPDX-License-Identifier: Apache-2.0
"""Goes through a Dockerfile's instructions, and says what each is going to change."""

from __future__ import annotations

import json
import logging
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwl_udss.errors import ImageError
from cwl_udss.images.dockerfiles.context import Given
from cwl_udss.images.dockerfiles.copying import context_for, run_command, written_by
from cwl_udss.images.dockerfiles.dockerfile import (
    Dockerfile,
    Instruction,
    Stage,
    exec_form,
    expand,
    pairs,
    problem,
    words,
)
from cwl_udss.images.dockerfiles.state import Layer, State, hash_of
from cwl_udss.images.manifests.command import DEFAULT_PATH
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.node.node import NodeImages
from cwl_udss.images.store.image import StoredImage

_logger = logging.getLogger(__name__)

# Arguments that need no ARG (docs.docker.com/reference/dockerfile/#predefined-args).
_PREDEFINED = frozenset(
    spelled
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for spelled in (name, name.upper())
)
_IGNORED = frozenset(
    ("EXPOSE", "HEALTHCHECK", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME")
)  # of no meaning to a step


class Planner:
    """Goes through the instructions and says what each is going to change."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        get: Callable[[str], StoredImage],
        node: NodeImages,
        platform: Platform,
        *,
        empty: Path,
        given: Given,
    ) -> None:
        self._dockerfile = dockerfile
        self._get = get
        self._node = node
        self._platform = platform
        self._empty = empty
        self._given = given
        self._used: set[str] = set()
        self._stages: dict[str, State] = {}

    def plan(self) -> State:
        """Return what the last stage makes, or the one that is wanted."""
        given, target = self._given, self._given.target.lower()
        platform = {
            "TARGETPLATFORM": str(self._platform),
            "TARGETOS": self._platform.os,
            "TARGETARCH": self._platform.architecture,
            "BUILDPLATFORM": str(self._platform),
        }
        state = State(root=self._empty, key="scratch", arguments=platform)
        for instruction in self._dockerfile.arguments:
            state = self._arg(state, instruction, {})
        common = state.arguments
        for number, stage in enumerate(self._dockerfile.stages):
            state = self._from(stage, common)
            for instruction in stage.instructions:
                state = self._apply(state, instruction, common)
            self._stages[str(number)] = self._stages[stage.name] = state
            if target in (stage.name, str(number)):
                break
        if target and target not in self._stages:
            raise ImageError(f"the Dockerfile has no stage {given.target}", "see its FROM … AS …")
        unused = sorted({*given.arguments} - self._used - _PREDEFINED)
        if unused:
            _logger.warning("no ARG of the Dockerfile is named %s", " or ".join(unused))
        return state

    def _apply(self, state: State, instruction: Instruction, common: Mapping[str, str]) -> State:
        if instruction.name in _IGNORED:
            return state
        if instruction.name == "ARG":
            return self._arg(state, instruction, common)
        try:
            handler = getattr(self, f"_{instruction.name.lower()}")
            changed: State = handler(state, instruction)
        except ValueError as error:
            raise problem(instruction.line, str(error)) from error
        return changed

    def _from(self, stage: Stage, common: Mapping[str, str]) -> State:
        line = stage.start.line
        for flag, value in stage.start.flags:
            wanted = self._text(value, common)
            if flag != "platform" or wanted not in (str(self._platform), self._plain_platform()):
                raise problem(line, f"--{flag}={wanted} is not possible on {self._platform}")
        base = self._text(stage.base, common)
        if base.lower() in self._stages:
            earlier = self._stages[base.lower()]
            return replace(earlier, arguments={}, is_command_ours=False)
        if base == "scratch":
            return State(root=self._empty, key="scratch", environment={"PATH": DEFAULT_PATH})
        image = self._image(line, base)
        environment = dict(entry.partition("=")[::2] for entry in image.config.environment)
        return State(
            root=self._node.directory(image),
            key=image.identity,
            environment={"PATH": DEFAULT_PATH, **environment},
            directory=image.config.working_directory or "/",
            user=image.config.user,
            entrypoint=image.config.entrypoint,
            command=image.config.command,
        )

    def _plain_platform(self) -> str:
        return f"{self._platform.os}/{self._platform.architecture}"

    def _image(self, line: int, name: str) -> StoredImage:
        try:
            return self._get(name)
        except ImageError as error:
            raise problem(line, error.problem, error.advice) from error

    def _arg(self, state: State, instruction: Instruction, common: Mapping[str, str]) -> State:
        name, equals, value = instruction.text.partition("=")
        self._used.add(name.strip())
        # Without a value it is the one of before FROM.
        default = self._text(value, state.variables) if equals else common.get(name)
        default = self._given.arguments.get(name.strip(), default)
        if default is None:
            return state
        return replace(state, arguments={**state.arguments, name.strip(): default})

    def _env(self, state: State, instruction: Instruction) -> State:
        return replace(state, environment={**state.environment, **self._pairs(state, instruction)})

    def _label(self, state: State, instruction: Instruction) -> State:
        return replace(state, labels={**state.labels, **self._pairs(state, instruction)})

    def _workdir(self, state: State, instruction: Instruction) -> State:
        directory = posixpath.normpath(
            posixpath.join(state.directory, self._text(instruction.text, state.variables))
        )
        changed = self._change(state, instruction, {"do": "make_directory", "path": directory})
        return replace(changed, directory=directory)

    def _user(self, state: State, instruction: Instruction) -> State:
        return replace(state, user=self._text(instruction.text, state.variables))

    def _shell(self, state: State, instruction: Instruction) -> State:
        shell = exec_form(instruction.text)
        if not shell:
            raise problem(instruction.line, 'SHELL wants a list: ["program", "argument"]')
        return replace(state, shell=shell)

    def _cmd(self, state: State, instruction: Instruction) -> State:
        command = exec_form(instruction.text) or (*state.shell, instruction.text)
        return replace(state, command=command, is_command_ours=True)

    def _entrypoint(self, state: State, instruction: Instruction) -> State:
        entrypoint = exec_form(instruction.text) or (*state.shell, instruction.text)
        command = state.command if state.is_command_ours else ()
        return replace(state, entrypoint=entrypoint, command=command)

    def _run(self, state: State, instruction: Instruction) -> State:
        for flag, value in instruction.flags:
            kind = dict(part.partition("=")[::2] for part in value.split(",")).get("type")
            if (flag, kind) not in (("mount", "cache"), ("mount", "tmpfs")):
                raise problem(instruction.line, f"RUN --{flag}={value} is not supported")
        command, script = run_command(state.shell, instruction)
        request = {
            "command": command,
            "script": script,
            "directory": state.directory,
            "environment": {"HOME": "/root", **self._proxies(), **state.variables},
        }
        return self._change(state, instruction, request)

    def _proxies(self) -> dict[str, str]:
        given = self._given.arguments
        return {name: given[name] for name in sorted(_PREDEFINED & {*given})}

    def _copy(self, state: State, instruction: Instruction) -> State:
        flags = dict(instruction.flags)
        *sources, target = self._words(state, instruction)
        if not sources:
            raise problem(instruction.line, f"{instruction.name} wants a source and a destination")
        path = posixpath.join(state.directory, target)
        mode = int(flags["chmod"], 8) if "chmod" in flags else None
        unknown = sorted(set(flags) - {"from", "chmod", "chown", "link"})
        if unknown:
            raise problem(instruction.line, f"{instruction.name} --{unknown[0]} is not supported")
        if "from" in flags:
            origin = self._origin(instruction.line, self._text(flags["from"], state.variables))
            request = {"do": "copy", "path": path, "sources": sources, "mode": mode}
            return self._change(state, instruction, request, origin)
        if len(sources) > 1:
            path = f"{path}/"
        of_context = []
        for source in sources:
            written = written_by(instruction, source, state.variables, self._dockerfile.escape)
            if written is None:
                of_context.append(source)
                continue
            own = {} if mode is None else {"mode": mode}
            request = {"do": "write", "path": path, **written, **own}
            state = self._change(state, instruction, request)
        if of_context:
            request = {"do": "copy", "path": path, "sources": of_context, "mode": mode}
            state = self._from_context(state, instruction, request)
        return state

    def _from_context(
        self, state: State, instruction: Instruction, request: Mapping[str, Any]
    ) -> State:
        context = context_for(instruction, request["sources"], self._given)
        origin = State(root=context.directory, key=context.key(request["sources"]) or "")
        return self._change(state, instruction, request, origin, {"ignored": context.ignored})

    _add = _copy

    def _origin(self, line: int, name: str) -> State:
        if name.lower() in self._stages:
            return self._stages[name.lower()]
        image = self._image(line, name)
        return State(root=self._node.directory(image), key=image.identity)

    def _change(
        self,
        state: State,
        instruction: Instruction,
        request: Mapping[str, Any],
        origin: State | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> State:
        """`beside` is told to whoever makes the change, and makes no other one of it."""
        key = hash_of(state.key, json.dumps(request, sort_keys=True), origin.key if origin else "")
        layer = Layer(
            key=key,
            line=instruction.line,
            parent=state.root,
            request={**request, **(beside or {})},
            origin=origin.root if origin else None,
        )
        return replace(state, root=layer, key=key)

    def _pairs(self, state: State, instruction: Instruction) -> dict[str, str]:
        text = expand(instruction.text, state.variables, self._dockerfile.escape)
        return dict(pairs(instruction, text, self._dockerfile.escape))

    def _words(self, state: State, instruction: Instruction) -> list[str]:
        listed = exec_form(instruction.text)
        if listed is not None:
            return [self._text(word, state.variables) for word in listed]
        text = expand(instruction.text, state.variables, self._dockerfile.escape)
        return words(text, self._dockerfile.escape)

    def _text(self, text: str, variables: Mapping[str, str]) -> str:
        return " ".join(words(expand(text, variables, self._dockerfile.escape)))
