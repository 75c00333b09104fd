"""Search spaces: YAML files, beside this module, in installed packages or anywhere, read into Optuna distributions.

A space maps paths into a trial's configuration (`task/threshold`) to what may stand there. A
parameter may exist only `when` categorical ones have certain values. The order in a file means
nothing: the parameters are sorted by dependency, then by path, so that equal spaces replay equally
under one seed. Whether a path names a leaf of the configuration is not known here.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import EntryPoint
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution

from search_spaces.parameters import Categorical as Categorical
from search_spaces.parameters import Float as Float
from search_spaces.parameters import Int as Int
from search_spaces.parameters import Parameter, clash, installed, nearest, owner, read_parameter
from search_spaces.parameters import SpaceError as SpaceError
from search_spaces.parameters import Value as Value
from search_spaces.strict_yaml import read_yaml

FOLDER = Path(__file__).parent
GROUP = "search_spaces"
"""The entry points of installed packages that add spaces: a space's name, and the package that has its file."""


def _file(name: str) -> Path:
    if Path(name).name != name or Path(name).suffix:
        return _own_file(Path(name))
    found = {"kdstudy": path} if (path := FOLDER / f"{name}.yaml").is_file() else {}
    found |= {owner(entry): _installed_file(entry) for entry in installed(GROUP) if entry.name == name}
    if len(found) > 1:
        raise SpaceError([clash(GROUP, name, found)])
    if not found:
        hint = nearest(name, (*(beside.stem for beside in FOLDER.glob("*.yaml")), *_installed_names()))
        raise SpaceError([f"{name}: must be a search space or a path to one, but is none; {hint}"])
    return next(iter(found.values()))


def _installed_names() -> list[str]:
    return [entry.name for entry in installed(GROUP)]


def _installed_file(entry: EntryPoint) -> Path:
    """The file that an entry point stands for: `NAME.yaml` in the package that is its value."""
    path = Path(str(files(entry.value) / f"{entry.name}.yaml"))
    if not path.is_file():
        raise SpaceError(
            [f"{entry.name}: must be a file of {owner(entry)}, but there is no {path}; install that package anew"]
        )
    return path


def _own_file(path: Path) -> Path:
    if path.is_file():
        return path
    near = difflib.get_close_matches(path.name, (beside.name for beside in path.parent.glob("*.y*ml")), n=1)
    hint = f"did you mean {str(path.with_name(near[0]))!r}?" if near else "write it, or correct the path"
    raise SpaceError([f"{path}: must be a search space's file, but there is no such file; {hint}"])


def read_entries(name: str) -> dict[Any, Any]:
    """What a space's file says, unread but for its YAML.

    Raises:
        SpaceError: there is no such file, or it is no mapping.
    """
    try:
        entries, repeated = read_yaml(_file(name))
    except SpaceError:
        raise
    except ValueError as error:
        raise SpaceError([str(error)]) from None
    if repeated:
        raise SpaceError(repeated)
    if not isinstance(entries, dict) or not entries:
        got = "nothing" if entries is None else repr(entries)
        raise SpaceError([f"{name}: must map paths to parameters, but has {got}"])
    return entries


def _when_faults(path: str, parameter: Parameter, found: Mapping[str, Parameter], names: Iterable[str]) -> list[str]:
    """What is wrong with its conditions; `names` has the unreadable parameters too."""
    faults = []
    for other, allowed in parameter.when.items():
        where, on = f"{path}.when.{other}", found.get(other)
        if other not in names:
            faults.append(f"{where}: no such parameter; {nearest(other, names)}")
        elif not allowed:
            faults.append(f"{where}: must list at least one value, but has none; or leave it out")
        elif isinstance(on, Float | Int):
            faults.append(f"{where}: must be categorical, but is {on.type}; list its values")
        elif on and (unknown := [value for value in allowed if value not in on.choices]):
            faults.append(f"{where}: must be among {list(on.choices)}, but got {unknown}")
    return faults


def _by_dependency(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Those a `when` names before those that have it, otherwise by path."""
    graph = {path: sorted(parameters[path].when) for path in sorted(parameters)}
    try:
        return {path: parameters[path] for path in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        circle: list[str] = error.args[1]
        fault = f"{circle[0]}.when: must not lead back to itself, but {' -> '.join(circle)}"
        raise SpaceError([fault]) from None


@dataclass(frozen=True)
class Space:
    """Parameters by path, each after those its `when` names."""

    parameters: Mapping[str, Parameter]

    @classmethod
    def load(cls, *names: str, kept: Mapping[str, Mapping[str, Any]] | None = None) -> Self:
        """The union of the named spaces.

        Args:
            names: files beside this module by their stem (`rdd`), or paths of others. A `when` may
                name a parameter of another file of the union.
            kept: what some files said when a study began; these are not read again.

        Raises:
            SpaceError: with every fault of every file.
        """
        space, faults = cls.readable(*names, kept=kept)
        if faults:
            raise SpaceError(faults)
        return space

    @classmethod
    def readable(cls, *names: str, kept: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Self, list[str]]:
        """As `load`, but what can be read of the union, beside every fault."""
        faults: list[str] = []
        union: dict[str, Any] = {}
        owner: dict[str, str] = {}
        for name in names:
            try:
                entries = kept[name] if kept and name in kept else read_entries(name)
            except SpaceError as error:
                faults += error.faults
                continue
            twice = [path for path in entries if path in union]
            faults += [f"{path}: stands in {owner[path]} and in {name}; keep one" for path in twice]
            union.update(entries)
            owner |= dict.fromkeys(entries, name)
        space, found = cls._parsed(union)
        return space, [*faults, *found]

    @classmethod
    def parse(cls, entries: Mapping[str, Any]) -> Self:
        """A space from plain values, as YAML has them.

        Raises:
            SpaceError: with every fault and its path.
        """
        space, faults = cls._parsed(entries)
        if faults:
            raise SpaceError(faults)
        return space

    @classmethod
    def _parsed(cls, entries: Mapping[str, Any]) -> tuple[Self, list[str]]:
        faults: list[str] = []
        found: dict[str, Parameter] = {}
        for path, entry in entries.items():
            try:
                found[path] = read_parameter(path, entry)
            except SpaceError as error:
                faults += error.faults
        wrong = {path: _when_faults(path, parameter, found, entries) for path, parameter in found.items()}
        faults += [fault for lines in wrong.values() for fault in lines]
        sound = cls({path: parameter for path, parameter in found.items() if not wrong[path]})
        try:
            return cls(_by_dependency(sound.only(sound.parameters).parameters)), faults
        except SpaceError as error:
            return cls({}), [*faults, *error.faults]

    def only(self, paths: Collection[str]) -> Self:
        """The parameters at these paths, without those whose conditions name others."""
        kept = {path: parameter for path, parameter in self.parameters.items() if path in paths}
        while lost := [path for path, parameter in kept.items() if not kept.keys() >= parameter.when.keys()]:
            kept = {path: parameter for path, parameter in kept.items() if path not in lost}
        return type(self)(kept)

    def _parameter(self, path: str) -> Parameter:
        if path not in self.parameters:
            raise ValueError(f"no such parameter; {nearest(path, self.parameters)}")
        return self.parameters[path]

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna samples each parameter from, where it exists."""
        return {path: parameter.distribution() for path, parameter in self.parameters.items()}

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """The trial's values of the parameters that exist in it, asked for one after the other."""
        values: dict[str, Value] = {}
        for path, parameter in self.parameters.items():
            if _exists(parameter, values):
                values[path] = parameter.suggest(trial, path)
        return values

    def defaults(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The defaults of the parameters that exist at the defaults.

        Args:
            given: values by path that stand in the place of defaults, whether the space has them or not; those whose
                parameter does not exist at the others are left out.
        """
        given = given or {}
        values: dict[str, Any] = {path: value for path, value in given.items() if path not in self.parameters}
        for path, parameter in self.parameters.items():
            if _exists(parameter, values):
                values[path] = given[path] if path in given else parameter.read(parameter.default)
        return values

    def setting(self, chosen: Mapping[str, Value]) -> dict[str, Value]:
        """The defaults with some parameters at chosen values, and others at values where these exist."""
        given, open_paths = dict(chosen), list(chosen)
        while open_paths:
            for other, allowed in self.parameters[open_paths.pop()].when.items():
                if given.get(other, self.parameters[other].default) not in allowed:
                    given[other] = allowed[0]
                open_paths.append(other)
        return self.defaults(given)

    def values(self, path: str) -> tuple[Value, ...]:
        """All choices of a categorical parameter, (low, high) of another."""
        return self._parameter(path).values()

    def active(self, values: Mapping[str, Value]) -> set[str]:
        """The parameters that exist at `values`; a condition on a value not there fails."""
        known: dict[str, Value | None] = {}
        for path, parameter in self.parameters.items():
            if _exists(parameter, known):
                known[path] = values.get(path)
        return set(known)

    def check(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Values to enqueue, some or all, as this space's own.

        Raises:
            SpaceError: with every unknown path, every value out of range, and every parameter that
                does not exist at the others' values.
        """
        faults: list[str] = []
        checked: dict[str, Value] = {}
        for path, value in values.items():
            try:
                checked[path] = self._parameter(path).read(value)
            except ValueError as fault:
                faults.append(f"{path}: {fault}")
        for path in checked:
            for other, allowed in self.parameters[path].when.items():
                if other in checked and checked[other] not in allowed:
                    faults.append(
                        f"{path}: exists only where {other} is one of {list(allowed)}, "
                        f"but got {checked[other]!r}; leave it out"
                    )
        if faults:
            raise SpaceError(faults)
        return checked


def _exists(parameter: Parameter, values: Mapping[str, Value | None]) -> bool:
    return all(values.get(other) in allowed for other, allowed in parameter.when.items())
