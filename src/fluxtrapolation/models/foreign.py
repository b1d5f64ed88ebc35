"""Models that are not registered: by file (``path/to/file.py:Name``) or by import path (``package.module.Name``)."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from fluxtrapolation.errors import ModelError, did_you_mean, examples
from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs, check_name, registry
from fluxtrapolation.models.sequence import SequenceModel
from fluxtrapolation.models.sklearn_model import wrap


def looks_foreign(text: str) -> bool:
    """Whether ``text`` means a file or an import path; a registered name holds no dot, colon or slash."""
    return any(mark in text for mark in ".:/\\")


def file_of(text: str) -> tuple[Path, str] | None:
    """The file and the name in it that a text means (``file.py:Name``); None for an import path."""
    path, _, name = text.rpartition(":")
    if path.endswith(".py"):
        return Path(path), name
    return (Path(text), "") if text.endswith(".py") else None


def resolve_model(text: str, *, sha256: str | None = None) -> ModelSpec:
    """Find a model that is not registered.

    Parameters
    ----------
    text : str
        ``path/to/file.py:Name`` or an import path, ``package.module.Name`` or ``package.module:Name``. The name is that
        of a :class:`FluxModel` subclass, a :class:`ModelSpec`, a class of scikit-learn style regressors, or a ready
        regressor such as a Pipeline. A registered name is found, too.
    sha256 : str, optional
        What the file must hash to. Another file is refused before a line of it runs.

    Returns
    -------
    ModelSpec
        With ``origin`` (the text that finds it again) and, for a file, its ``sha256``.

    Raises
    ------
    ModelError
        If the file, package or name is missing, the file cannot be imported or has another hash, what is named is no
        regressor, or its name is taken by a registered model.
    """
    if text in registry():
        return registry()[text]
    named = file_of(text)
    return _from_package(text) if named is None else _from_file(*named, sha256)


def _from_file(file: Path, name: str, sha256: str | None) -> ModelSpec:
    if not file.is_file():
        there = sorted(other.name for other in file.parent.glob("*.py")) if file.parent.is_dir() else []
        raise ModelError(
            f"There is no file {file}.{did_you_mean(file.name, there)}"
            + ("" if file.parent.is_dir() else f" The folder {file.parent} does not exist.")
        )
    path = file.resolve()
    # Read once: what is hashed is what runs, and no compiled file beside it takes its place.
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if sha256 not in (None, digest):
        raise ModelError(
            f"The model comes from {file}:{name}, and that file has changed since the run (nothing of it was "
            "executed). Restore it, or train again with --overwrite."
        )
    module = _load_file(path, source, digest)
    if not name:
        raise ModelError(f"Say which model of {file} you mean: {file}:NAME. It has: {_usable_names(module)}.")
    packages = (module.__name__, *_imported(module))
    spec = _spec(_member(module, name, str(file)), name, where=f"{file}:{name}", packages=packages)
    return replace(spec, origin=f"{path}:{name}", sha256=digest)


def _load_file(path: Path, source: bytes, digest: str) -> ModuleType:
    """Import a file once for each of its contents, so that a class stays the same class."""
    # Named by content, so that a model saved by skops is found again in the same file wherever it lies.
    known = f"fluxtrapolation_model_{path.stem}_{digest[:12]}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, path)
    if spec is None:
        raise ModelError(f"{path} cannot be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    # Last, so that a helper beside the file is found but hides nothing.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[known] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        _check_helpers(path, source)
    except BaseException as error:
        del sys.modules[known]
        if isinstance(error, ModelError) or not isinstance(error, Exception | SystemExit):
            raise
        raise ModelError(f"{path} cannot be imported: {_told(error, path)}") from error
    return module


def _check_helpers(path: Path, source: bytes) -> None:
    """Refuse a file that meant a module beside it and got another of the same name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    for name in sorted(names - {path.stem}):
        beside = [one for one in (path.parent / f"{name}.py", path.parent / name / "__init__.py") if one.is_file()]
        got = getattr(sys.modules.get(name), "__file__", None)
        if beside and got is not None and Path(got).resolve() not in [one.resolve() for one in beside]:
            raise ModelError(
                f"{path} imports {name}, and got {got}, which was there before, not {beside[0]} beside it. "
                "Rename one of the two."
            )


def _imported(module: ModuleType) -> tuple[str, ...]:
    """Packages that a file imports by name, the standard library left out: whoever names the file trusts them."""
    values = vars(module).values()
    names = [value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) for value in values]
    tops = {name.split(".")[0] for name in names if isinstance(name, str)}
    return tuple(sorted(tops - sys.stdlib_module_names - {"fluxtrapolation", module.__name__}))


def _told(error: BaseException, path: Path) -> str:
    """An exception in words, with the line of the file that raised it."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"line {error.lineno} ({(error.text or '').strip()}): {type(error).__name__}: {error.msg}"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {lines[-1].lineno} ({lines[-1].line}): {said}" if lines else said


def _from_package(text: str) -> ModelSpec:
    module_name, _, name = text.rpartition(":" if ":" in text else ".")
    if not module_name or not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise ModelError(
            f"{text!r} is no model: give a registered name ({', '.join(registry())}), path/to/file.py:Name, or an "
            "import path such as sklearn.ensemble.ExtraTreesRegressor."
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ModelError(_no_module(text, module_name, error)) from None
    except Exception as error:
        raise ModelError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    packages = (module_name.split(".")[0],)
    spec = _spec(_member(module, name, module_name), name, where=text, packages=packages)
    return replace(spec, origin=f"{module_name}.{name}")


def _no_module(text: str, module_name: str, error: ModuleNotFoundError) -> str:
    missing = error.name or module_name
    top = module_name.split(".")[0]
    if missing == top:
        return (
            f"The model {text} needs the package {top}, which is not installed: pip install {top}. "
            "For a file give its path: path/to/file.py:Name."
        )
    if not module_name.startswith(missing):
        return f"{module_name} cannot be imported: {error}."
    parent, _, last = missing.rpartition(".")
    near = [name for name in dir(importlib.import_module(parent)) if not name.startswith("_")]
    return f"{parent} has no module {last!r}.{did_you_mean(last, near)}"


def _member(module: ModuleType, name: str, where: str) -> Any:
    if not hasattr(module, name):
        near = [other for other in dir(module) if not other.startswith("_")]
        raise ModelError(f"{where} has no {name!r}.{did_you_mean(name, near)} It has: {_usable_names(module)}.")
    return getattr(module, name)


def _usable_names(module: ModuleType) -> str:
    """Models of a module, for a message."""
    found = []
    for name, value in vars(module).items():
        own = not inspect.isclass(value) or value.__module__.startswith(module.__name__)
        if own and not name.startswith("_") and (isinstance(value, ModelSpec) or _is_regressor(value)):
            found.append(name)
    return examples(sorted(found), 8) or "no model (a FluxModel, a ModelSpec or a class with fit and predict)"


def _is_regressor(value: Any) -> bool:
    return callable(getattr(value, "fit", None)) and callable(getattr(value, "predict", None))


def _spec(found: Any, name: str, *, where: str, packages: tuple[str, ...]) -> ModelSpec:
    """The spec of what a text names."""
    if isinstance(found, ModelSpec):
        return _named(found, where)
    if not _is_regressor(found):
        kind = f"the class {found.__name__}" if inspect.isclass(found) else f"a {type(found).__name__}"
        lacking = [method for method in ("fit", "predict") if not callable(getattr(found, method, None))]
        raise ModelError(
            f"{where} is {kind} without {' and '.join(lacking)}. A model is a FluxModel, a ModelSpec, or a "
            "scikit-learn style regressor with fit(X, y) and predict(X)."
        )
    if inspect.isclass(found):
        _check_constructor(found, where)
    if inspect.isclass(found) and issubclass(found, FluxModel):
        sequences = issubclass(found, SequenceModel)
        needs = Needs(validation=True, domains=not sequences, sequences=sequences)
        own = found.__dict__.get("name") or getattr(found, "name", "") or _kebab(name)
        return _named(ModelSpec(own, _first_line(found), lambda: found, where, needs=needs), where)
    return _named(_wrapped(found, name, where, packages), where)


def _check_constructor(cls: type, where: str) -> None:
    """Refuse a class that cannot be made without arguments."""
    wanted = [
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if wanted:
        given = ", ".join(f"{name}=..." for name in wanted)
        raise ModelError(
            f"{where} cannot be made without arguments: {examples(wanted, 5)}. Give them defaults, or make one in a "
            f"file, MODEL = {cls.__name__}({given}), and name it: file.py:MODEL."
        )


def _wrapped(found: Any, name: str, where: str, packages: tuple[str, ...]) -> ModelSpec:
    """A spec for a scikit-learn style class or a ready estimator."""
    make: Callable[..., Any]
    if inspect.isclass(found):
        make, cls = found, found
    elif hasattr(found, "get_params"):
        cls = type(found)
        packages += _packages_of(found)

        def make() -> Any:
            from sklearn.base import clone

            return clone(found)
    else:
        raise ModelError(f"{where} is a {type(found).__name__} without get_params. Name its class instead.")
    kind = _kind(make())
    if kind not in (None, "regressor"):
        raise ModelError(f"{where} is a {kind}; fluxes need a regressor.")
    own = getattr(cls, "name", None)
    chosen = own if isinstance(own, str) and own else _kebab(name)
    model = wrap(chosen, make, tuple(dict.fromkeys((*packages, cls.__module__.split(".")[0]))))

    def load() -> type[FluxModel]:
        import skops.io  # noqa: F401  (a missing library is told here, before anything is trained)

        return model

    return ModelSpec(chosen, _first_line(cls), load, where, needs=Needs(extra="models"))


def _packages_of(estimator: Any) -> tuple[str, ...]:
    """Packages of an estimator and of the estimators inside it."""
    parts = [estimator, *(value for value in estimator.get_params(deep=True).values() if hasattr(value, "fit"))]
    return tuple(type(part).__module__.split(".")[0] for part in parts)


def _kind(estimator: Any) -> str | None:
    """What scikit-learn calls the estimator: regressor, classifier, ...; None if it does not say."""
    if not hasattr(estimator, "__sklearn_tags__"):
        return getattr(estimator, "_estimator_type", None)
    from sklearn.utils import get_tags

    kind: str | None = get_tags(estimator).estimator_type
    return kind


def _named(spec: ModelSpec, where: str) -> ModelSpec:
    """The spec, if its name can be a run folder's and is not taken."""
    check_name(spec.name, where)
    if spec.name in registry():
        raise ModelError(
            f"{where} is named {spec.name!r}, which is the name of a registered model. "
            f'Give it another: name = "my-{spec.name}".'
        )
    return spec


def _first_line(cls: type) -> str:
    text = inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0].strip().rstrip(".")
    return text or cls.__name__


def _kebab(name: str) -> str:
    """``ExtraTreesRegressor`` -> ``extra-trees-regressor``, ``MLPRegressor`` -> ``mlp-regressor``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return re.sub(r"[-_]+", "-", spaced).strip("-").lower()
