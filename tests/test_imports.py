"""Imports run one way only, and what needs no Keras imports none."""

import ast
from pathlib import Path

import pytest

import tfnorm

ROOT = Path(tfnorm.__file__).parent

# From the top down; a module may import its own package and what stands lower. The members of one row do not import
# each other.
ORDER = (
    ("__init__", "__main__"),
    ("cli",),
    ("show",),
    ("convert_file",),
    ("compare",),
    ("report",),
    ("training",),
    ("callbacks",),
    ("misclassified",),
    ("datasets",),
    ("analysis",),
    ("convert",),
    ("models",),
    ("layers", "regularizers"),
    ("ops",),
    ("_check",),
    ("history", "files", "keras_settings"),
    ("spec",),
    ("registry", "_keras"),
    ("errors", "_version", "wording", "arrays"),
)
RANKS = {part: rank for rank, row in enumerate(ORDER) for part in row}
MODULES = sorted(ROOT.rglob("*.py"))


def part_of(module):
    """Return the part of tfnorm that the dotted name ``module`` belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


class Imports(ast.NodeVisitor):
    """Collects the dotted names that a module imports, but for those under ``if TYPE_CHECKING``."""

    def __init__(self, module, is_package):
        self.package = module if is_package else module.rpartition(".")[0]
        self.names = []

    def visit_If(self, node):
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.visit(node.test)
            for child in node.body:
                self.visit(child)
        for child in node.orelse:
            self.visit(child)

    def visit_Import(self, node):
        self.names += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        # "from tfnorm import layers" imports a part, "from tfnorm.spec import parse" a name in one.
        self.names += [f"tfnorm.{alias.name}" for alias in node.names] if base == "tfnorm" else [base]

    def visit_Call(self, node):
        called = ast.unparse(node.func)
        if called in ("import_module", "importlib.import_module", "__import__") and node.args:
            if isinstance(node.args[0], ast.Constant):
                self.names.append(str(node.args[0].value))
        self.generic_visit(node)


def violations(source, module, is_package=False):
    """Return a sentence for each import in ``source`` that does not point downward."""
    found = Imports(module, is_package)
    found.visit(ast.parse(source))
    here = part_of(module)
    wrong = []
    for name in found.names:
        if name != "tfnorm" and not name.startswith("tfnorm."):
            continue
        there = part_of(name)
        if there == "__version__":
            there = "_version"
        if there not in RANKS:
            wrong.append(f"{module} imports {name}, which has no place in the order")
        elif there != here and RANKS[there] <= RANKS[here]:
            wrong.append(f"{module} imports {name}, which stands no lower")
    return wrong


def dotted(path):
    names = ["tfnorm", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_downward(path):
    module = dotted(path)
    assert part_of(module) in RANKS, f"Give {part_of(module)!r} a place in ORDER."
    assert violations(path.read_text(), module, is_package=path.name == "__init__.py") == []


def test_the_walk_sees_the_modules():
    seen = {dotted(path) for path in MODULES}
    assert {"tfnorm", "tfnorm.spec", "tfnorm.ops.generic", "tfnorm.layers.create", "tfnorm.training.trainer"} <= seen


UPWARD = {
    "import tfnorm.cli": "tfnorm.cli",
    "import numpy, tfnorm.models.plan as p": "tfnorm.models.plan",
    "from tfnorm.models import plan": "tfnorm.models",
    "from tfnorm import build": "tfnorm.build",
    "import tfnorm": "tfnorm",
    "from ..training.trainer import train": "tfnorm.training.trainer",
    "from .. import callbacks": "tfnorm.callbacks",
    "def f():\n    if True:\n        from tfnorm.report import plots": "tfnorm.report",
    "class A:\n    def f(self):\n        import tfnorm.compare": "tfnorm.compare",
    "if TYPE_CHECKING:\n    pass\nelse:\n    import tfnorm.convert": "tfnorm.convert",
    "from tfnorm.regularizers import L1": "tfnorm.regularizers",
    "import importlib\nimportlib.import_module('tfnorm.datasets')": "tfnorm.datasets",
}


@pytest.mark.parametrize("source", UPWARD)
def test_the_checker_finds_an_upward_import(source):
    (sentence,) = violations(source, "tfnorm.layers.made_up")
    assert sentence.startswith(f"tfnorm.layers.made_up imports {UPWARD[source]}, which ")


@pytest.mark.parametrize(
    "source",
    [
        "from tfnorm.ops import generic",
        "from tfnorm.layers._checks import positive_epsilon",
        "from . import _checks",
        "from ..spec import parse",
        "import keras, tfnormal",
        "from tfnorm import spec, errors",
        "if TYPE_CHECKING:\n    from tfnorm.models.builder import build",
    ],
)
def test_the_checker_passes_a_downward_import(source):
    assert violations(source, "tfnorm.layers.made_up") == []


def test_the_checker_wants_a_place_for_every_part():
    assert violations("import tfnorm.unheard_of", "tfnorm.cli") == [
        "tfnorm.cli imports tfnorm.unheard_of, which has no place in the order"
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import tfnorm; tfnorm.list_norms(); tfnorm.list_architectures(); tfnorm.NormSpec; tfnorm.ArchSpec",
        "import tfnorm.spec; tfnorm.spec.parse('gn:4+l1=1e-4')",
        "import tfnorm.datasets; tfnorm.datasets.list_datasets(); tfnorm.list_datasets()",
        "import tfnorm.training.config",
        "import tfnorm.analysis.inspect; tfnorm.analysis.inspect.inspect_architecture('resnet20')",
        "from tfnorm.models.plan import plan; from tfnorm.spec import parse; plan('resnet20', parse('gn:4'))",
        "import tfnorm.registry, tfnorm.errors, tfnorm.cli",
        "from tfnorm.convert.runtimes.formats import check_export, export_format; export_format('net.onnx')",
        "import tfnorm.models.saved; tfnorm.models.saved.check_imports(['json'])",
        "import tfnorm.convert.tfa.hdf5, tfnorm.analysis, tfnorm.convert; tfnorm.analysis.Layers",
    ],
)
def test_imports_no_keras(code, run_python):
    heavy = "print(sorted({'keras', 'tensorflow'} & {name.partition('.')[0] for name in sys.modules}))"
    assert run_python(f"import sys; {code}; {heavy}") == "[]"


@pytest.mark.parametrize("package", [tfnorm.analysis, tfnorm.convert])
def test_no_function_is_called_as_a_module_beside_it(package):
    folder = Path(package.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not modules & set(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__) and dir(package) == package.__all__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'. Public names: "):
        package.nothing  # noqa: B018


def test_public_names(run_python):
    for name in tfnorm.__all__:
        assert getattr(tfnorm, name) is not None
    assert dir(tfnorm) == sorted(tfnorm.__all__)
    with pytest.raises(AttributeError) as caught:
        tfnorm.biuld  # noqa: B018
    assert str(caught.value) == (
        f"module 'tfnorm' has no attribute 'biuld'. Public names: {', '.join(tfnorm.__all__)}."
    )
