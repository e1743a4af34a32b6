"""The walls of the house: what every module of the package keeps to."""

import ast
import re

import pytest
from house.source import ROOMS, ROOT, functions, modules, place, tree

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_ARGUMENTS = 7
MAY_BE_LONGER = {"fit"}
"""The training loop is one function read from top to bottom."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core", "base", "stuff"}
HIDDEN = re.compile(r"(?<![\w./:-])/(?:home|root|tmp|work|Users|opt|mnt|var)/")


def test_no_file_is_longer_than_the_wall() -> None:
    long = {place(path): n for path in modules() if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_no_function_is_longer_than_the_wall() -> None:
    long = {
        f"{place(path, node)} {node.name}": lines
        for path in modules()
        for node in functions(path)
        if node.name not in MAY_BE_LONGER and (lines := _body_lines(node)) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which may be as long as the truth needs."""
    first = node.body[0]
    docstring = ast.get_docstring(node, clean=False)
    spoken = (first.end_lineno or 0) - first.lineno + 1 if docstring is not None else 0
    return (node.end_lineno or 0) - node.lineno + 1 - spoken


def test_no_function_takes_more_than_seven_arguments() -> None:
    many = {}
    for path in modules():
        # A command's options are its arguments: their number is what the user is offered.
        if path.is_relative_to(ROOMS / "cli"):
            continue
        for node in functions(path):
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if len([a for a in arguments if a not in ("self", "cls")]) > MOST_ARGUMENTS:
                many[f"{place(path, node)} {node.name}"] = len(arguments)
    assert not many


def test_every_module_says_what_it_is_for() -> None:
    silent = [place(path) for path in modules() if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert not silent


def test_every_public_function_and_class_says_what_the_caller_gets() -> None:
    silent = []
    for path in modules():
        for node in tree(path).body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{place(path, node)} {node.name}")
    assert not silent


def test_no_name_is_vague() -> None:
    named = [place(path) for path in modules() if set(path.relative_to(ROOMS).with_suffix("").parts) & VAGUE]
    classes = [
        f"{place(path, node)} {node.name}"
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(("manager", "helper", "utils"))
    ]
    assert not named + classes


def test_no_exception_is_swallowed() -> None:
    swallowed = [
        place(path, node)
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and _does_nothing(node)
    ]
    assert not swallowed


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(
        isinstance(part, ast.Pass | ast.Continue)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in handler.body
    )


def test_no_path_of_one_machine_is_written_down() -> None:
    readable = [*modules(), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/**/*.*"), *ROOT.glob("benchmarks/**/*.py")]
    readable += [ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "constraints.txt")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in readable
        if path.is_file() and path.suffix in (".py", ".md", ".yaml", ".toml", ".txt", "")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if HIDDEN.search(line)
    ]
    assert not found


CONFINED = ("src/tunesmith/evaluation/alone.py", "src/tunesmith/serving/confined.py")
"""The files that run code which was sent or answered: child processes with limits, off unless asked for."""


def test_nothing_unpickles_and_no_remote_code_runs() -> None:
    forbidden = []
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                if names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}:
                    forbidden.append(place(path, node))
            if isinstance(node, ast.Call) and _runs_foreign_code(node):
                forbidden.append(place(path, node))
    assert [where for where in forbidden if not where.startswith(CONFINED)] == []
    assert len(forbidden) == 3


def _runs_foreign_code(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if name in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "os.popen", "shutil.unpack_archive"):
        return True
    keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
    if name.endswith(("extractall", ".extract")):
        return True
    if (name == "YAML" and keywords.get("typ") != "'safe'") or keywords.get("allow_pickle", "False") != "False":
        return True
    if name == "torch.load" and keywords.get("weights_only") != "True":
        return True
    return keywords.get("trust_remote_code", "False") != "False" or keywords.get("shell", "False") != "False"


@pytest.mark.parametrize(
    "line",
    [
        "eval(x)", "os.system(x)", "yaml.load(x)", "YAML()", "YAML(typ='unsafe')", "torch.load(x)",
        "torch.load(x, weights_only=False)", "f(trust_remote_code=True)", "run(x, shell=True)", "tar.extractall(x)",
        "np.load(x, allow_pickle=True)",
    ],
)  # fmt: skip
def test_what_would_run_foreign_code_is_recognised(line: str) -> None:
    (statement,) = ast.parse(line).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert _runs_foreign_code(statement.value)


def test_every_loader_of_the_model_library_is_told_to_run_no_remote_code() -> None:
    loaders = ("AutoModelForCausalLM.from_pretrained", "AutoTokenizer.from_pretrained", "AutoConfig.from_pretrained")
    calls = [(path, n) for path in modules() for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]
    silent = [
        place(path, call)
        for path, call in calls
        if ast.unparse(call.func) in loaders and "trust_remote_code" not in {k.arg for k in call.keywords}
    ]
    assert not silent


def test_every_unit_test_stands_in_the_room_that_it_tests() -> None:
    rooms = {path.parent for path in modules()} | {folder for folder in (ROOT / "recipes").iterdir() if folder.is_dir()}
    stray = [
        place(path)
        for path in sorted((ROOT / "tests/unit").rglob("test_*.py"))
        if not {base / path.parent.relative_to(ROOT / "tests/unit") for base in (ROOMS, ROOT)}
        & {*rooms, ROOT / "recipes"}
    ]
    assert not stray
