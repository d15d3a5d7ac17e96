"""Which rules a test function calls and asserts on: a small data-flow analysis of its source.

A rule is called by its name, as `rule(...)` inside of a kernel, or as `call(rule)(...)`. What comes out is followed through
assignments, loops, arrays that are written to, and helpers of the same file and of the modules beside it, until an assertion
sees it. Order does not matter to it: a variable holds whatever is assigned to it anywhere in its function.
"""

import ast
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

WRAPPERS = ("call", "plain", "kernel")
"""Functions that make something of a rule that is called like it."""
WRITERS = ("put_eight", "put_columns")
"""Functions that write packs into the array that is given first."""


class Rule(NamedTuple):
    """Where a rule is defined."""

    module: str
    name: str


Rules = frozenset[Rule]
NONE: Rules = frozenset()


class Found(NamedTuple):
    """What one function does with rules."""

    returned: Rules
    asserted: Rules
    parameters: dict[str, Rules]  # results that were written into an argument


class Scope(NamedTuple):
    """What names mean in one function."""

    functions: dict[str, ast.FunctionDef]  # helpers
    results: dict[str, Rules]  # variables that hold results of rules
    rules: dict[str, Rules]  # names of rules, and variables that are one of several
    imported: dict[str, Rules]  # names of rules outside of functions


def rules_with_properties(path: Path) -> Rules:
    """Names of sim/ whose results a Hypothesis test of this file asserts on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    scope = module_scope(tree, path.parent)
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and is_property(node)]
    return union(analyse(test, scope, ()).asserted for test in tests)


def is_property(test: ast.FunctionDef) -> bool:
    return any(isinstance(one, ast.Call) and getattr(one.func, "id", "") == "given" for one in test.decorator_list)


def module_scope(tree: ast.Module, folder: Path) -> Scope:
    """Helpers of a file and of the modules beside it that it imports from, and the rules that they import."""
    rules: dict[str, Rules] = {}
    scope = Scope({}, {}, rules, rules)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            beside = folder / f"{node.module}.py"
            if node.module.startswith("gigaflow_env.sim."):
                module = node.module.removeprefix("gigaflow_env.")
                found = {alias.asname or alias.name: frozenset({Rule(module, alias.name)}) for alias in node.names}
                scope.rules.update(found)
            elif beside.is_file() and beside.name != "conftest.py":
                other = module_scope(ast.parse(beside.read_text(encoding="utf-8")), folder)
                scope.functions.update(other.functions)
                scope.rules.update(other.rules)
        elif isinstance(node, ast.FunctionDef):
            scope.functions[node.name] = node
        elif isinstance(node, ast.Assign):
            bind(node.targets, scope.rules, referred(node.value, scope))
    return scope


def analyse(function: ast.FunctionDef, outer: Scope, callers: tuple[str, ...]) -> Found:
    """Follow results through one function. `outer` holds what its parameters and the names around it mean."""
    if function.name in callers:
        return Found(NONE, NONE, {})
    nested = {node.name: node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node is not function}
    scope = Scope(outer.functions | nested, dict(outer.results), dict(outer.rules), outer.imported)
    walk = (*callers, function.name)
    before = None
    while before != (scope.results, scope.rules):  # until nothing new is reached: order does not matter
        before = dict(scope.results), dict(scope.rules)
        for node in own_nodes(function):
            follow(node, scope, walk)
    returned = [node.value for node in own_nodes(function) if isinstance(node, ast.Return) and node.value]
    names = [one.arg for one in function.args.posonlyargs + function.args.args + function.args.kwonlyargs]
    return Found(
        union(reached(value, scope, walk) for value in returned),
        union(assertions(node, scope, walk) for node in function.body),
        {name: scope.results.get(name, NONE) for name in names},
    )


@functools.cache
def own_nodes(function: ast.FunctionDef) -> list[ast.AST]:
    """All nodes of a function but those of functions inside of it."""
    found, left = [], list[ast.AST](function.body)
    while left:
        node = left.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef):
            left += ast.iter_child_nodes(node)
    return found


def follow(node: ast.AST, scope: Scope, walk: tuple[str, ...]) -> None:
    """Write down which variables hold results after this statement."""
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.value:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        bind(targets, scope.results, reached(node.value, scope, walk))
        bind(targets, scope.rules, referred(node.value, scope))
    elif isinstance(node, (ast.For, ast.comprehension)):
        bind([node.target], scope.results, reached(node.iter, scope, walk))
        bind([node.target], scope.rules, referred(node.iter, scope))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and referred(node.value.func, scope):
        bind(node.value.args, scope.results, referred(node.value.func, scope))  # a rule that writes into its arguments
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "add", "update", "extend"):
            bind([node.func.value], scope.results, union(reached(one, scope, walk) for one in node.args))
        elif isinstance(node.func, ast.Name) and node.func.id in WRITERS:
            bind(node.args[:1], scope.results, union(reached(one, scope, walk) for one in node.args[1:]))
        elif isinstance(node.func, ast.Name) and node.func.id in scope.functions:
            written = helper(node, scope, walk).parameters
            for name, argument in arguments(node, scope.functions[node.func.id]):
                bind([argument], scope.results, written.get(name, NONE))


def assertions(node: ast.AST, scope: Scope, walk: tuple[str, ...]) -> Rules:
    """Rules whose results are asserted on in a statement, or decide there which assertion counts."""
    if isinstance(node, ast.FunctionDef):
        return NONE
    found = union(assertions(one, scope, walk) for one in ast.iter_child_nodes(node))
    if isinstance(node, ast.Assert):
        found |= reached(node.test, scope, walk)
    elif isinstance(node, (ast.If, ast.While)) and any(isinstance(one, ast.Assert) for one in ast.walk(node)):
        found |= reached(node.test, scope, walk)
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr.startswith("assert_"):
            found |= union(reached(one, scope, walk) for one in node.args)
        elif isinstance(node.func, ast.Name) and node.func.id in scope.functions:
            found |= helper(node, scope, walk).asserted
    return found


def helper(node: ast.Call, scope: Scope, walk: tuple[str, ...]) -> Found:
    """What a helper does when it is called with these arguments."""
    function = scope.functions[node.func.id]
    nested = function.col_offset > 0  # sees the variables of the function around it
    results, rules = (dict(scope.results), dict(scope.rules)) if nested else ({}, dict(scope.imported))
    for name, argument in arguments(node, function):
        results[name], rules[name] = reached(argument, scope, walk), referred(argument, scope)
    return analyse(function, scope._replace(results=results, rules=rules), walk)


def arguments(node: ast.Call, function: ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    """Each parameter of a function with what is given for it; a starred argument may be any of those that follow."""
    names = [one.arg for one in function.args.posonlyargs + function.args.args]
    found = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
    for k, argument in enumerate(node.args):
        if isinstance(argument, ast.Starred):
            return found + [(name, argument.value) for name in names[k:]]
        found += [(name, argument) for name in names[k : k + 1]]
    return found


def reached(expression: ast.AST, scope: Scope, walk: tuple[str, ...]) -> Rules:
    """Rules whose results are part of the value of an expression."""
    found = NONE
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            found |= scope.results.get(node.id, NONE)
        elif isinstance(node, ast.Call):
            found |= referred(node.func, scope)
            if isinstance(node.func, ast.Name) and node.func.id in scope.functions:
                found |= helper(node, scope, walk).returned
    return found


def referred(expression: ast.AST, scope: Scope) -> Rules:
    """Rules that an expression is, or is a collection of: a call of it is a call of them."""
    if isinstance(expression, ast.Name):
        return scope.rules.get(expression.id, NONE)
    if isinstance(expression, ast.Call) and getattr(expression.func, "id", "") in WRAPPERS:
        return union(referred(one, scope) for one in expression.args)
    if isinstance(expression, (ast.Tuple, ast.List)):
        return union(referred(one, scope) for one in expression.elts)
    if isinstance(expression, ast.Subscript):
        return referred(expression.value, scope)
    return NONE


def bind(targets: list[ast.expr], table: dict[str, Rules], rules: Rules) -> None:
    """Add rules to the variables that are assigned to; an element of an array stands for the array."""
    for target in targets:
        if isinstance(target, (ast.Tuple, ast.List)):
            bind(target.elts, table, rules)
        elif isinstance(target, (ast.Subscript, ast.Starred, ast.Attribute)):
            bind([target.value], table, rules)
        elif isinstance(target, ast.Name) and rules:
            table[target.id] = table.get(target.id, NONE) | rules


def union(many: Iterable[Rules]) -> Rules:
    return NONE.union(*many)
