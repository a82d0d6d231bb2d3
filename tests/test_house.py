"""The house holds: floors, no cycles, small modules, nothing imported that was not asked for."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import middlewatch

ROOT = Path(middlewatch.__file__).parent
DOCS = ROOT.parent.parent / "docs"

# From the ground up; a module imports only from lower floors, packages count as one room.
# docs/architecture.md says what lives where. A name a line, so that two rooms added at once do not collide.
FLOORS: list[set[str]] = [
    {
        "errors",
        "findings",
    },
    {
        "times",
    },
    {
        "cells",
        "charts",
        "estimators",
        "ids",
        "marks",
        "usercode",
        "config",
        "predictors",
        "sparks",
        "spool",
        "store",
        "tables",
    },
    {
        "plots",
        "schema",
    },
    {
        "associations",
        "metrics",
    },
    {
        "blocks",
        "encoding",
        "environment",
        "flights",
        "gate",
        "journal",
        "learners",
        "notes",
        "outbox",
        "profiles",
        "records",
        "requests",
        "runs",
        "targets",
        "versions",
    },
    {
        "beside",
        "own",
        "pictures",
    },
    {
        "checks",
        "fingerprints",
        "infer",
        "shift",
    },
    {
        "accepting",
        "comparing",
        "data",
        "differences",
        "elsewhere",
        "incidents",
        "labels",
        "model",
        "predictions",
        "quality",
        "retention",
        "servers",
        "windows",
    },
    {
        "groups",
        "observations",
        "project",
    },
    {
        "following",
        "lenses",
    },
    {
        "history",
        "replay",
    },
    {
        "admission",
    },
    {
        "building",
        "doctor",
        "initialise",
        "inspection",
        "outcomes",
        "releases",
        "responses",
        "score",
        "serve",
        "sides",
        "status",
        "train",
        "why",
    },
    {
        "alerts",
        "gauges",
        "imports",
        "monitor",
        "retrain",
    },
    {
        "fast",
        "frames",
    },
    {
        "library",
        "recording",
    },
    {
        "web",
    },
    {
        "demo",
    },
    {
        "cli",
    },
    {
        "__init__",
        "__main__",
    },
]
# Reasons stand beside the numbers; without one, the file or function is to be cut.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def modules() -> dict[str, ast.Module]:
    """Every module by its dotted name below the package."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
    }


def room(module: str) -> str:
    return module.partition(".")[0]


def imports(module: str, tree: ast.Module) -> set[str]:
    """Modules of the house that a module imports: those inside functions and those for type checkers, too."""
    package = module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                stem = [*package[: len(package) - (node.level - 1)], *((node.module or "").split("."))]
            elif (node.module or "").split(".")[0] == "middlewatch":
                stem = (node.module or "").split(".")[1:]
            else:
                continue
            base = ".".join(one for one in stem if one)
            found |= {base} | {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("middlewatch.")}
    return found


def graph() -> dict[str, set[str]]:
    trees = modules()

    def home(name: str) -> str | None:
        return name if name in trees else f"{name}.__init__" if f"{name}.__init__" in trees else None

    return {
        module: {target for one in imports(module, tree) if one and (target := home(one)) and target != module}
        for module, tree in trees.items()
    }


def test_every_room_has_a_floor_and_imports_only_from_lower_ones() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = []
    for module, targets in graph().items():
        assert room(module) in floor, f"{module} stands on no floor"
        wrong += [
            f"{module} imports {target}"
            for target in targets
            if room(target) != room(module) and floor[room(target)] >= floor[room(module)]
        ]
    assert not wrong


def test_every_room_has_a_line_in_the_architecture() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    floors = text[text.index("## Floors") : text.index("## How data flows")]
    told = re.findall(r"^\| `(\w+)` \| \S.+ \|$", floors, re.M)
    assert sorted(told) == sorted(name for names in FLOORS for name in names if not name.startswith("__"))


def test_no_module_is_in_a_circle() -> None:
    edges = graph()

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += edges[one]
        return seen

    assert [module for module in edges if module in reach(module)] == []


def test_files_and_functions_are_small() -> None:
    long_files, long_functions = {}, {}
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(ROOT))
        if text.count("\n") > 600:
            long_files[name] = text.count("\n")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno
                if length > 70:
                    long_functions[f"{name}:{node.name}"] = length
    assert set(long_files) == set(LONG_FILES)
    assert set(long_functions) == set(LONG_FUNCTIONS)


def test_public_names_are_listed_and_documented() -> None:
    undocumented = []
    for name in middlewatch.__all__:
        thing = getattr(middlewatch, name)
        if not (thing.__doc__ or "").strip():
            undocumented.append(name)
    for module, tree in modules().items():
        if not ast.get_docstring(tree) and not module.endswith("__main__"):
            undocumented.append(module)
    assert undocumented == []


def python(code: str) -> tuple[str, float]:
    """What a fresh interpreter prints, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


HEAVY = "{'polars', 'numpy', 'lightgbm', 'pandas', 'sklearn', 'pyarrow', 'obstore'}"


@pytest.mark.parametrize(
    "code",
    [
        "import middlewatch",
        "import middlewatch.cli",
        "import middlewatch.project, middlewatch.status",
        "import middlewatch.serve.run",
    ],
)
def test_nothing_heavy_is_imported_unasked(code: str) -> None:
    printed, _ = python(f"{code}\nimport sys\nprint(sorted({HEAVY} & set(sys.modules)))")
    assert printed.strip() == "[]"
