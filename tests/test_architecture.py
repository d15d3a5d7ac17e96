"""Imports run downwards, and importing is cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rule_calls import Rule, rules_with_properties

import gigaflow_env

PACKAGE = Path(gigaflow_env.__file__).parent


def modules(package):
    """Files of a package by the name of their module, without the package's."""
    paths = [path for path in sorted(package.rglob("*.py")) if "__pycache__" not in path.parts]
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in paths}


MODULES = modules(PACKAGE)
TRAINER = modules(PACKAGE.parent / "gigaflow_train")

TESTS = sorted(Path(__file__).parent.glob("test_*.py"))

LAYERS = (
    ("bounds",),
    ("declare", "extras", "files", "memory", "population", "progress", "version"),
    ("inlined", "kernel_cache", "packs"),
    ("jit",),
    ("prepared",),
    ("compiling", "kernels"),
    ("config",),
    ("layout",),
    ("state", "roads"),
    ("tracks",),
    ("sim",),
    ("backend", "finite"),
    ("simulator",),
    ("scenes",),
    ("snapshot", "conditioning", "driver", "event_log", "output", "render"),
    ("state_memory",),
    ("seats", "presets"),
    ("replay",),
    ("env",),
    ("adapters", "bench"),
    ("single",),
    ("__init__", "testing"),
    ("viewer",),
    ("cli",),
    ("__main__",),
)
"""From the bottom up; a module may import what lies below it, and its siblings, at the top of the file or in a function."""


def imports(path, *, lazy):
    """Modules that a file imports, with dots; `lazy`: also those inside of functions."""
    found = set()
    body = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(body)) if lazy else [node for top in body.body if not is_function(top) for node in ast.walk(top)]
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def is_function(node):
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def own(source, known=MODULES, package="gigaflow_env"):
    """Modules of a package that a source imports, at once or later, by whichever statement, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        named = []
        if isinstance(node, ast.Import):
            named = [(alias.name, f"{alias.name}.__init__") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A module of a package, a package, or what a module or a package defines.
            tails = ("{0}.{1}", "{0}.{1}.__init__", "{0}", "{0}.__init__")
            named = [tuple(tail.format(node.module, alias.name) for tail in tails) for alias in node.names]
        for places in named:
            if places[0].split(".")[0] == package:
                inside = [place.removeprefix(package).removeprefix(".") for place in places]
                found |= {next(place for place in inside if place in known)}
    return found


def imported(name, known=MODULES, package="gigaflow_env"):
    """The same of a module of a package."""
    return own(known[name].read_text(encoding="utf-8"), known, package)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import gigaflow_env", {"__init__"}),
        ("import gigaflow_env.roads.cut as cut, math", {"roads.cut"}),
        ("import gigaflow_env.roads", {"roads.__init__"}),
        ("from gigaflow_env.roads.cut import cut", {"roads.cut"}),
        ("from gigaflow_env.roads import cut, load", {"roads.cut", "roads.__init__"}),
        ("def later():\n    from gigaflow_env import bounds", {"bounds"}),
        ("import gigaflow_envelope\nfrom math import pi", set()),
    ],
)
def test_imports_of_any_kind_are_seen(source, found):
    assert own(source) == found


def layer(name):
    top = name.split(".")[0]
    return next((k for k, names in enumerate(LAYERS) if top in names), None)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downwards(name):
    assert layer(name) is not None, f"{name} has no layer"
    for other in imported(name):
        siblings = name.split(".")[0] == other.split(".")[0]
        # The compiler of a map sits beside the state: it compiles kernels, and they read its tables.
        assert layer(other) < layer(name) or siblings, f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize(("known", "package"), [(MODULES, "gigaflow_env"), (TRAINER, "gigaflow_train")])
def test_no_cycles(known, package):
    graph = {name: imported(name, known, package) - {name} for name in known}
    done: set[str] = set()

    def visit(name, path):
        assert name not in path, f"cycle of imports: {' -> '.join([*path, name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert len(done) == len(known) > 20


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_tests_import_no_tests(path):
    """What two of them share has a module that is named for what it holds."""
    assert not {name for name in imports(path, lazy=True) if name.startswith("test_")}


SIM_MAY = re.compile(
    r"(math|enum|numpy|typing|gigaflow_env\.(jit|packs|config|layout|state|roads\.levels|roads\.compiled\.tables|sim))\b.*"
)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("sim.")])
def test_rules_and_stages_know_nothing_but_numbers(name):
    for other in imports(MODULES[name], lazy=True):
        assert SIM_MAY.fullmatch(other), f"{name} imports {other}"


def test_the_simulator_does_not_know_torch():
    knows = {
        name
        for name, path in MODULES.items()
        if any(other.split(".")[0] in ("torch", "gigaflow_train") for other in imports(path, lazy=True))
    }
    assert all(name.startswith("adapters.") or name == "output.tensors" for name in knows), knows


def test_only_the_jit_module_knows_numba():
    users = {name for name, path in MODULES.items() if any(o.split(".")[0] == "numba" for o in imports(path, lazy=True))}
    on_cuda = {"backend.cuda", "backend.cuda_rows", "backend.cuda_state"}
    assert users >= {"jit", *on_cuda}
    assert not any(name.split(".")[0] in ("sim", "roads", "backend", "env") for name in users - on_cuda)


def test_import_is_cheap():
    heavy = ("torch", "matplotlib", "pygame", "imageio", "numba.cuda", "stable_baselines3", "gigaflow_train")
    code = f"import gigaflow_env, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


# Properties


def test_every_rule_has_a_property():
    """Whoever writes a rule says what must hold of it, whatever it is given."""
    rules = {
        Rule(name, node.name)
        for name, path in MODULES.items()
        if name.startswith("sim.")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and any(getattr(one, "id", "") == "rule" for one in node.decorator_list)
    }
    found = frozenset().union(*(rules_with_properties(path) for path in TESTS))
    assert len(rules) > 80
    assert not rules - found, "no property: " + ", ".join(".".join(rule) for rule in sorted(rules - found))


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ("assert call(gap)(x) > 0", True),
        ("assert gap", False),
        ("call(gap)(x)\n    assert 1 > 0", False),
        ("found = call(gap)(x)\n    assert x > 0", False),
        ("found = call(gap)\n    assert found", False),
        ("found = call(gap)(x)\n    assert [found] == [0]", True),
        ("for one in [call(gap)(k) for k in range(3)]:\n        assert one", True),
        ("if call(gap)(x) > 0:\n        assert x > 0", True),
        ("out = [0]\n    call(gap)(x, out)\n    assert out[0]", True),
        ("out, other = [0], [0]\n    call(gap)(x, out)\n    assert other[0]", False),
        ("out = [0]\n    _kernel(x, out)\n    assert out[0]", True),
        ("_kernel(x, [0])", False),
        ("out = [0]\n    put_eight(out, 0, call(gap)(x))\n    assert out", True),
        ("out, other = [0], [0]\n    put_eight(out, 0, call(gap)(x))\n    assert other", False),
        ("check(call(gap)(x))", True),
        ("check(x)", False),
        ("found = call(gap)(x)\n    check(x)", False),
        ("assert given_rule(gap, x)", True),
        ("def inner():\n        return call(gap)(x)\n\n    assert inner()", True),
        ("def inner():\n        assert call(gap)(x)", False),
        ("for one in (gap, max):\n        assert call(one)(x)", True),
    ],
)
def test_only_a_call_whose_result_is_asserted_on_is_a_property(tmp_path, body, counts):
    helpers = (
        "def _kernel(x, out):\n    out[0] = gap(x)\n\ndef check(found):\n    assert found\n\n"
        "def given_rule(rule, x):\n    return call(rule)(x)\n\n"
    )
    path = tmp_path / "test_it.py"
    path.write_text(
        f"from gigaflow_env.sim.geometry import gap\n\n{helpers}@given(reals(0, 1))\ndef test_it(x):\n    {body}\n"
    )
    assert rules_with_properties(path) == ({Rule("sim.geometry", "gap")} if counts else set())
