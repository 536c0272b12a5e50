"""Imports run one way, never in a circle, and what needs no Keras imports none."""

import ast
import functools
from pathlib import Path

import pytest
from facts import says

import tfnorm

ROOT = Path(tfnorm.__file__).parent
START_UP = "# start-up"

# From the top down. A module may import its own package and what stands lower. The members of one row do not import
# each other. CONTRIBUTING.md shows the same map.
ORDER = (
    ("__init__", "__main__"),
    ("cli",),
    ("experiments",),
    ("reporting",),
    ("training",),
    ("callbacks",),
    ("checks",),
    ("mistakes",),
    ("datasets",),
    ("analysis",),
    ("convert",),
    ("models",),
    ("layers", "regularizers"),
    ("ops",),
    ("history", "files"),
    ("spec",),
    ("norms",),
    ("registry", "_keras", "table"),
    ("keras_settings",),
    ("metrics",),
    ("own_code",),
    ("errors", "_version", "text"),
)
RANKS = {part: rank for rank, row in enumerate(ORDER) for part in row}


def name_of(path, root=ROOT):
    names = [root.name, *path.relative_to(root).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def part_of(module):
    """Return the part of tfnorm that the dotted name ``module`` belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


class Imports(ast.NodeVisitor):
    """Collects what a module imports: (dotted name, line, whether inside a function)."""

    def __init__(self, module, is_package):
        self.package = module if is_package else module.rpartition(".")[0]
        self.found = []
        self.depth = 0

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_Import(self, node):
        self.found += [(alias.name, node.lineno, self.depth > 0) for alias in node.names]

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        self.found += [(f"{base}.{alias.name}", node.lineno, self.depth > 0) for alias in node.names]

    def visit_Call(self, node):
        if ast.unparse(node.func) in ("import_module", "importlib.import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant):
                self.found.append((str(node.args[0].value), node.lineno, self.depth > 0))
        self.generic_visit(node)


@functools.cache
def imports_of(source, module, is_package=False):
    found = Imports(module, is_package)
    found.visit(ast.parse(source))
    return found.found


def upward(source, module, is_package=False):
    """Return a sentence for each import in ``source`` that does not point downward."""
    here, wrong = part_of(module), []
    for name, _, _ in imports_of(source, module, is_package):
        if name != "tfnorm" and not name.startswith("tfnorm."):
            continue
        there = part_of(name) if name != "tfnorm.__version__" else "_version"
        if there not in RANKS:
            wrong.append(f"{module} imports {name}, which has no place in the order")
        elif there != here and RANKS[there] <= RANKS[here]:
            wrong.append(f"{module} imports {name}, which stands no lower")
    return wrong


def circles(sources):
    """Return the circles of imports between modules, given module to (source, whether it is a package)."""
    arrows = {}
    for module, (source, is_package) in sources.items():
        names = [name for name, _, _ in imports_of(source, module, is_package)]
        # "from tfnorm.spec import parse" imports a name of a module, "from tfnorm import spec" the module.
        seen = {name if name in sources else name.rpartition(".")[0] for name in names}
        arrows[module] = sorted((seen & set(sources)) - {module})
    found, done = [], set()

    def walk(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for other in arrows[module]:
                walk(other, [*path, module])
            done.add(module)

    for module in arrows:
        walk(module, [])
    return found


@pytest.fixture(scope="module")
def tree():
    """Return module to (source, whether it is a package) of all of tfnorm."""
    return {name_of(path): (path.read_text(), path.name == "__init__.py") for path in sorted(ROOT.rglob("*.py"))}


def test_imports_point_downward(tree):
    assert {"tfnorm", "tfnorm.spec", "tfnorm.ops.generic", "tfnorm.training.trainer"} <= set(tree)
    assert {part_of(module) for module in tree} <= set(RANKS), "Give every part a place in ORDER."
    assert [wrong for module, (source, package) in tree.items() for wrong in upward(source, module, package)] == []


def test_no_file_imports_in_a_circle(tree):
    assert circles({module: value for module, value in tree.items() if module != "tfnorm"}) == []


def test_imports_inside_functions_are_for_start_up_and_say_so(tree):
    silent = []
    for module, (source, package) in tree.items():
        lines = source.splitlines()
        for name, line, inside in imports_of(source, module, package):
            if inside and START_UP not in lines[line - 1]:
                silent.append(f"{module}:{line} {name}")
    assert silent == []


def test_contributing_shows_the_order():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    block = text.split("```text\n")[1].split("```")[0]
    rows = [tuple(word.strip("/,") for word in line[:26].split()) for line in block.splitlines()]
    assert rows == [row for row in ORDER if row != ("__init__", "__main__")]


def test_no_folder_has_more_than_14_modules():
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert {str(f): n for f in folders if (n := len(list(f.glob("*.py")))) > 14} == {}


@pytest.mark.parametrize("part", ["layers", "ops", "models", "datasets", "callbacks", "mistakes"])
def test_no_public_function_has_the_name_of_a_module_beside_it(part):
    """Importing the module would overwrite the function in its package."""
    for folder in {path.parent for path in (ROOT / part).rglob("*.py")}:
        modules = {path.stem for path in folder.iterdir()}
        for path in folder.glob("*.py"):
            tree = ast.parse(path.read_text())
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
            imported = {alias.asname or alias.name for node in tree.body for alias in getattr(node, "names", ())}
            assert not modules & (defined | (imported if path.stem == "__init__" else set())), path


UPWARD = {
    "import tfnorm.cli": "tfnorm.cli",
    "import numpy, tfnorm.models.planner as p": "tfnorm.models.planner",
    "from tfnorm.models import planner": "tfnorm.models.planner",
    "from tfnorm import build": "tfnorm.build",
    "import tfnorm": "tfnorm",
    "from ..training.trainer import train": "tfnorm.training.trainer.train",
    "def f():\n    if True:\n        from tfnorm.reporting import html": "tfnorm.reporting.html",
    "class A:\n    def f(self):\n        import tfnorm.experiments": "tfnorm.experiments",
    "if TYPE_CHECKING:\n    import tfnorm.convert": "tfnorm.convert",
    "from tfnorm.regularizers import L1": "tfnorm.regularizers.L1",
    "import importlib\nimportlib.import_module('tfnorm.datasets')": "tfnorm.datasets",
}


@pytest.mark.parametrize("source", UPWARD)
def test_the_checker_finds_an_upward_import(source):
    (sentence,) = upward(source, "tfnorm.layers.made_up")
    says(sentence, "tfnorm.layers.made_up", UPWARD[source])


def test_the_checker_passes_a_downward_import_and_wants_a_place_for_every_part():
    fine = "from tfnorm.ops import generic\nfrom . import checks\nfrom ..spec import parse\nimport keras, tfnormal"
    assert upward(fine, "tfnorm.layers.made_up") == []
    (sentence,) = upward("import tfnorm.unheard_of", "tfnorm.cli")
    assert "no place in the order" in sentence


def test_the_checker_finds_circles_of_any_length():
    sources = {
        "p": ("", True),
        "p.a": ("from p.b import f", False),
        "p.b": ("def g():\n    from p import c", False),
        "p.c": ("if TYPE_CHECKING:\n    import p.a", False),
        "p.d": ("from p.a import x\nfrom p.b import y", False),
    }
    assert circles(sources) == [["p.a", "p.b", "p.c", "p.a"]]
    assert imports_of(sources["p.b"][0], "p.b") == [("p.c", 2, True)]


WITHOUT_KERAS = [
    "import tfnorm; tfnorm.list_norms(); tfnorm.list_architectures(); tfnorm.NormSpec; tfnorm.ArchSpec",
    "import tfnorm.spec; tfnorm.spec.parse('gn:4+l1=1e-4')",
    "import tfnorm.datasets; tfnorm.datasets.list_datasets(); tfnorm.list_datasets()",
    "import tfnorm.training.config",
    "import tfnorm.analysis.inspect; tfnorm.analysis.inspect.inspect_architecture('resnet20')",
    "from tfnorm.models.planner import plan; from tfnorm.spec import parse; plan('resnet20', parse('gn:4'))",
    "import tfnorm.registry, tfnorm.errors, tfnorm.cli",
    "from tfnorm.convert.runtimes.formats import check_export, export_format; export_format('net.onnx')",
    "import tfnorm.own_code.imports; tfnorm.own_code.imports.check_imports(['json'])",
    "import tfnorm.convert.tfa.hdf5, tfnorm.analysis, tfnorm.convert; tfnorm.analysis.Layers",
]


def test_imports_no_keras(run_python):
    """One process runs them all; the first line that printed another set than the empty one is to blame."""
    heavy = "print(sorted({'keras', 'tensorflow'} & {name.partition('.')[0] for name in sys.modules}))"
    code = "\n".join(f"{code}; {heavy}" for code in WITHOUT_KERAS)
    found = dict(zip(WITHOUT_KERAS, run_python(f"import sys\n{code}").splitlines(), strict=True))
    assert found == dict.fromkeys(WITHOUT_KERAS, "[]")


@pytest.mark.parametrize("package", [tfnorm.analysis, tfnorm.convert])
def test_no_function_is_called_as_a_module_beside_it(package):
    folder = Path(package.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not modules & set(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__) and dir(package) == package.__all__
    with pytest.raises(AttributeError, match="'nothing'"):
        package.nothing  # noqa: B018


def test_public_names():
    for name in tfnorm.__all__:
        assert getattr(tfnorm, name) is not None
    assert dir(tfnorm) == sorted(tfnorm.__all__)
    with pytest.raises(AttributeError, match="biuld.*Public names: .*build"):
        tfnorm.biuld  # noqa: B018
