"""Wrong models on the command line: one sentence, exit 2, nothing trained; errors of a person's file as theirs."""

import sys

import pytest
from facts import says

from tfnorm.cli import main

NET = """\
import keras
from keras import layers


def make(input_shape=(8, 8, 1), num_classes=10, end=None):
    inputs = keras.Input(input_shape)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, layers.Dense(num_classes, end)(layers.GlobalAveragePooling2D()(x)))


def raises():
    return layers.Conv2D(4, 3, paddin="same")


def deep(input_shape):
    return layers.Conv2D(4, 30)(keras.Input(input_shape))


def exits():
    raise SystemExit("no more")


def nothing():
    make()


def word():
    return "resnet"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(10)

    def call(self, x):
        return self.dense(x)


def needs(width, num_classes):
    return make(num_classes=num_classes)


def color():
    return make((8, 8, 3))


def seven():
    return make(num_classes=7)


def two():
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(10)(x), layers.Dense(10)(x)])


def two_inputs():
    inputs = [keras.Input((8, 8, 1)), keras.Input((8, 8, 1))]
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()(inputs))))


def softmax_for_logits():
    model = make(end="softmax")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def logits_for_softmax():
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def own_loss(y_true, y_pred):
    return y_true.nothing


def with_own_loss():
    model = make()
    model.compile("adam", own_loss)
    return model


def not_a_number():
    inputs = keras.Input((8, 8, 1))
    bias = keras.initializers.Constant(float("nan"))
    return keras.Model(inputs, layers.Dense(10, bias_initializer=bias)(layers.Flatten()(inputs)))


def without():
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(inputs)))


ONE = []


def again():
    ONE[:] = ONE or [make()]
    return ONE[0]


calls = []


def changes(norm):
    calls.append(1)
    inputs = x = keras.Input((8, 8, 1))
    for _ in calls:
        x = norm()(layers.Conv2D(4, 1)(x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


SIZE = 3
"""
FILES = {
    "net.py": NET,
    "syntax.py": "import keras\n\ndef make(:\n    pass\n",
    "importing.py": "import keras\n\nx = keras.nothing\n\ndef make():\n    pass\n",
    "lacking.py": "import no_such_package\n\ndef make():\n    pass\n",
    "text.keras": "this is no zip",
    "empty.keras": "",
}
# What a model is, with other options; then what the sentence has.
CASES = {
    "nowhere.py:make": ("'nowhere.py'", "no file"),
    "net.py:mak": ("'mak'", "'make'"),
    "net.py": ("net.py:make",),
    "net.py:SIZE": ("'SIZE'", "int"),
    "net.py:raises": ("ValueError", "paddin", "net.py, line 12"),
    "net.py:deep": ("ValueError", "net.py, line 16"),
    "net.py:exits": ("SystemExit: no more", "net.py, line 20"),
    "net.py:nothing": ("None", "return model"),
    "net.py:word": ("str", "keras.Model"),
    "net.py:Subclassed": ("Subclassed", "keras.Input"),
    "net.py:needs": ("width", "defaults"),
    "net.py:color": ("8x8x3", "8x8x1", "`input_shape`"),
    "net.py:make --image-size 2": ("net.py, line 7",),
    "net.py:seven": ("7 outputs", "10 classes", "`num_classes`"),
    "net.py:two": ("one output", "2 outputs"),
    "net.py:two_inputs": ("one input", "2 inputs"),
    "net.py:softmax_for_logits": ("probabilities", "from_logits=False"),
    "net.py:logits_for_softmax": ("logits", "from_logits=True"),
    "net.py:with_own_loss": ("loss", "AttributeError", "nothing", "net.py, line 76"),
    "net.py:not_a_number": ("not finite", "pixels"),
    "net.py:without": ("'gn:2'", "net.py:without", "no convolution", "`norm`"),
    "net.py:again": ("weights", "inside the function"),
    "net.py:changes": ("`norm`",),
    "syntax.py:make": ("SyntaxError", "syntax.py, line 3"),
    "importing.py:make": ("AttributeError", "nothing", "importing.py, line 3"),
    "lacking.py:make": ("'no_such_package'", "lacking.py, line 1"),
    "no.such.module:make": ("'no.such.module'", "no module"),
    "text.keras": ("text.keras", "no zip archive", "saved by Keras"),
    "empty.keras": ("empty.keras", "no zip archive"),
    "nowhere.keras": ("'nowhere.keras'", "no file"),
    "text.keras --import nowhere.py": ("'nowhere.py'", "--import"),
    "text.keras --import importing.py": ("AttributeError", "importing.py, line 3"),
    "text.keras --import no_such_module": ("'no_such_module'", "--import"),
    "net.py:make --import net.py": ("`imports`", ".keras"),
    "net.py:make --allow-lambda": ("`allow_lambda`", ".keras"),
    "net.py:make --weights imagenet": ("'imagenet'", "function"),
    "applications:ResNet5": ("'ResNet5'", "'ResNet50'"),
    "applications:ResNet50 --weights nowhere.h5": ("'nowhere.h5'", "'imagenet'"),
    "applications:MobileNetV2 --image-size 8": ("8x8x1", "32x32"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Return a function that runs a command in the folder, and returns what it wrote to the standard error."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tfnorm", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        written = capsys.readouterr().err
        assert "Traceback" not in written and not (folder / "out").exists()
        assert all(line.startswith("tfnorm: ") for line in written.splitlines())
        return written

    yield run
    for name in ("net", "syntax", "importing", "lacking"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_model_is_one_sentence_before_training(case, run):
    spec = "gn:2" if case.endswith(("without", "changes")) else "keep"
    written = run("compare", spec, "--model", *case.split(), "--seeds", "1", "--epochs", "1", "--out", "out")
    assert written.count("\n") == 1
    says(written, *CASES[case])


def test_a_single_run_and_a_look_refuse_the_same(run):
    for name in ("not_a_number", "seven", "nothing"):
        says(run("train", "keep", "--model", f"net.py:{name}", "--out", "out"), f"net.py:{name}")
    says(run("inspect", "net.py:nothing"), "None")
    says(run("inspect", "net.py:changes"), "net.py:changes", "--norm")
    says(run("inspect", "text.keras"), "'text.keras'")


def test_every_wrong_spec_of_a_model_has_its_sentence(run):
    written = run("compare", "gn:2", "ln+ws", "--model", "net.py:without", "--seeds", "1", "--out", "out")
    assert len(written.splitlines()) == 2
