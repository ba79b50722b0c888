"""Makes one function of the project misbehave, and finds out which functions a Check calls."""

import inspect
import pkgutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from types import CodeType, FrameType, FunctionType, ModuleType, UnionType
from typing import Any, Union, get_args, get_origin

Act = Callable[[], object]

current: list[Act] = []  # what the one misbehaving function does; its new code looks here


def _misbehave(*_: object, **__: object) -> object:
    from tests.security.faults import current

    return current[-1]()


async def _misbehave_later(*_: object, **__: object) -> object:
    from tests.security.faults import current

    done = current[-1]()
    return await done if isinstance(done, Awaitable) else done


def function_named(name: str) -> FunctionType:
    """Return ``module:qualified.name`` of the sidecar. Raises where there is no such function."""
    module, _, qualified = name.partition(":")
    found: object = reduce(getattr, qualified.split("."), import_module(f"sidecar.{module}"))
    if not isinstance(found, FunctionType):
        raise TypeError(f"{name} is not a function")
    return found


@contextmanager
def misbehaving(function: FunctionType, act: Act) -> Iterator[None]:
    """Let ``function`` do ``act`` instead, wherever it was imported to: its code is replaced."""
    faulty = _misbehave_later if inspect.iscoroutinefunction(function) else _misbehave
    kept = function.__code__, function.__defaults__, function.__kwdefaults__
    current.append(act)
    try:
        # A method that says super() has a cell, and new code must have as many.
        function.__code__ = faulty.__code__.replace(co_freevars=function.__code__.co_freevars)
        function.__defaults__ = function.__kwdefaults__ = None
        yield
    finally:
        function.__code__, function.__defaults__, function.__kwdefaults__ = kept
        current.pop()


@contextmanager
def traced(called: set[CodeType]) -> Iterator[None]:
    """Add the code of every function that is called meanwhile on this thread."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def functions_in(*packages: ModuleType) -> dict[CodeType, FunctionType]:
    """Return every function, method and property of the packages' modules, by its code."""
    found: dict[CodeType, FunctionType] = {}
    for package in packages:
        for module in _modules(package):
            for value in vars(module).values():
                owned = getattr(value, "__module__", None) == module.__name__
                members = vars(value).values() if owned and isinstance(value, type) else (value,)
                for member in members:
                    function = _function(member)
                    if function is not None:
                        found[function.__code__] = function
    return found


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield import_module(module.name)


def _function(member: object) -> FunctionType | None:
    if isinstance(member, property):
        member = member.fget
    elif isinstance(member, classmethod | staticmethod):
        member = member.__func__
    return member if isinstance(member, FunctionType) else None


def admits(function: FunctionType, value: object) -> bool:
    """Say whether a value is of the type that the function says it returns."""
    hint = function.__annotations__.get("return", Any)
    return _is_of(eval(hint, function.__globals__) if isinstance(hint, str) else hint, value)


def _is_of(hint: Any, value: object) -> bool:
    if hint is None:
        return value is None
    if hint is Any or hint is object:
        return False  # it means something that its caller has to look at
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_is_of(part, value) for part in get_args(hint))
    kind = origin or hint
    return isinstance(value, kind) if isinstance(kind, type) else False
