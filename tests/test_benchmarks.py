"""Each benchmark runs and writes its files; what it measures decides nothing."""

import functools
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from facts import says
from scipy import stats

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = {
    "layers": "--norms bn dropout --shapes 2x4x4x8 --dtypes bfloat16 --directions both --rounds 2",
    "scaling": "--norms gn:4 --batches 1 2 3 --channels --sides --rounds 2 --calls 1",
    "training": "--archs mnist_7k --norms none --batches 2 --dtypes float32 --rounds 2 --calls 1 --compile",
    "accelerate": "--models tiny --rounds 2 --calls 1",
    "fold": "--models tiny --rounds 2 --calls 1",
}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Return a function that loads a benchmark, whose results go to ``tmp_path``."""

    def load(name):
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        place = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(place)
        place.loader.exec_module(module)
        monkeypatch.setattr(module._measure, "RESULTS", tmp_path)
        return module

    return load


def numbers(value):
    if isinstance(value, dict | list):
        return [n for part in (value.values() if isinstance(value, dict) else value) for n in numbers(part)]
    return [value] if isinstance(value, int | float) else []


@pytest.fixture
def without_graphs():
    """Run the functions of TensorFlow as they are: tracing a network costs more than all else."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("name", TINY)
def test_benchmark_writes_finite_numbers_and_a_picture(name, script, monkeypatch, tmp_path, capsys, request):
    if name in ("training", "scaling", "accelerate"):
        request.getfixturevalue("without_graphs")
    module = script(name)
    if name in ("accelerate", "fold"):
        convolution = keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()
        layers = [keras.Input((6, 6, 1)), *convolution, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
        monkeypatch.setitem(module.MODELS, "tiny", (lambda: keras.Sequential(layers), 2))
    module.main([*TINY[name].split(), "--name", "tiny"])
    record = json.loads((tmp_path / "tiny.json").read_text())
    assert record["schema_version"] == 1 and record["settings"]["rounds"] == 2
    assert {"tensorflow", "keras", "tfnorm"} <= set(record["versions"])
    assert record["rows"] and np.isfinite(numbers(record["rows"])).all()
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))
    assert "tiny.json and tiny.png" in capsys.readouterr().out


def test_the_benchmark_of_streaming_reads_pictures_from_files(script, without_graphs, monkeypatch, tmp_path, capsys):
    module = script("streaming")
    monkeypatch.setitem(module.WAYS, "streamed", "1 k")
    small = "--arch mnist_7k --norm none --pictures 4 --side 40 --image-size 28 --batch 2 --rounds 2"
    module.main([*small.split(), "--name", "tiny"])
    (row,) = json.loads((tmp_path / "tiny.json").read_text())["rows"]
    assert set(row["times"]) == {"memory", "streamed", "reading, memory", "reading, streamed"}
    assert np.isfinite(numbers(row)).all() and "streamed / memory" in capsys.readouterr().out


@pytest.fixture
def families(script, monkeypatch):
    """Return the benchmark of conversions with a family that is small, and one without norms."""
    module = script("families")
    made = {"tiny": [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()], "bare": [keras.layers.Conv2D(4, 3)]}
    for name in made:
        monkeypatch.setitem(module.FAMILIES, name, (name, 6))

    def make(family):
        ends = [keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
        return keras.Sequential([keras.Input((6, 6, 1)), *made[family], *ends], name=family)

    monkeypatch.setattr(module, "make", make)
    return module


def test_families_are_converted_and_written(families, tmp_path, capsys):
    options = ["--families", "tiny", "bare", "--name", "some"]
    families.main(options, row_of=lambda family, images: families.compare(family, images=images))
    tiny, bare = json.loads((tmp_path / "some.json").read_text())["rows"]
    assert (tiny["norms"], tiny["folded"], tiny["kept"], tiny["replaced"]) == (1, 1, 0, 1)
    assert all(value < 1e-5 for value in tiny["difference"].values()) and tiny["difference"]["replace"] is not None
    assert (bare["norms"], bare["replaced"], bare["difference"]["replace"]) == (0, 0, None)
    assert capsys.readouterr().out.count("as it should be") == 2


def test_families_tell_what_is_wrong(families, monkeypatch):
    row = families.compare("tiny", images=2)
    fold = families.convert.fold_batch_norm

    def wrong(model, **options):
        folded, report = fold(model, **options)
        folded.layers[0].bias.assign(folded.layers[0].bias + [1.0, 0.0, 0.0, 0.0])
        return folded, report

    monkeypatch.setattr(families.convert, "fold_batch_norm", wrong)
    (fault,) = families.faults(families.compare("tiny", images=2))
    says(fault, "fold", "logits")
    changes = [
        ({"difference": {**row["difference"], "accelerate": float("nan")}}, ("accelerate", "nan")),
        ({"replaced": 0}, ("1 norms",)),
        ({"kept": 3}, ("-3 norms",)),
        ({"unequal_weights": 2}, ("2 weights",)),
        ({"same_configuration": False}, ("to_keras", "configuration")),
    ]
    for change, facts in changes:
        (fault,) = families.faults({**row, **change})
        says(fault, *facts)
    with pytest.raises(SystemExit):
        families.main(["--families", "tiny", "--name", "wrong"], row_of=lambda *_: {**row, "replaced": 0})


ALL_FAMILIES = (
    "ConvNeXt DenseNet EfficientNet EfficientNetV2 InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 MobileNetV3 "
    "NASNet ResNet ResNetV2 VGG Xception"
).split()


def test_all_families_are_there(script):
    assert list(script("families").FAMILIES) == ALL_FAMILIES


@pytest.mark.matrix
@pytest.mark.parametrize("family", ALL_FAMILIES)
def test_a_family_of_keras_applications(family, script):
    module = script("families")
    row = module.in_a_process(family, 8)
    assert module.faults(row) == []
    assert row["norms"] > 0 or family == "VGG"


def test_layers_divide_by_the_time_of_tfnorm(script, monkeypatch):
    layers = script("layers")
    given = {"tfnorm": [2.0, 2.0], "keras": [8.0, 8.0], "copy": [0.5, 0.5]}
    monkeypatch.setattr(layers._measure, "interleave", lambda cases, rounds: {name: given[name] for name in given})
    row = layers.compare("bn", (2, 4, 4, 8), "float32", "both", 2)
    assert row["ratio"] == {"tfnorm": 1.0, "keras": 4.0, "copy": 0.25} and row["copies"] == 4.0
    assert layers.x_ratios([row], "float32") == {"bn": {"2x4x4x8": 4.0}}


@pytest.mark.parametrize(("dtype", "count"), [("float32", 64), ("bfloat16", 32)])
def test_copy_moves_as_many_bytes_as_the_layer_reads(dtype, count, script):
    copy = script("layers").copy_calls(np.zeros((2, 4, 4, 2), "float32"), dtype)["copy"]()
    assert (copy.dtype.name, copy.shape) == ("float32", [count])


def test_scaling_varies_one_size_at_a_time(script):
    shape_of = script("scaling").shape_of
    assert shape_of("batch", 8) == (8, 32, 32, 32)
    assert shape_of("channels", 8) == (32, 32, 32, 8)
    assert shape_of("side", 8) == (32, 8, 8, 32)


def test_exponent_is_the_slope_over_the_larger_half(script):
    exponent = script("scaling").exponent
    sizes = [1, 2, 4, 8, 16, 32]
    assert exponent(sizes, [5, 5, 5, *(3 * size**1.25 for size in sizes[3:])]) == pytest.approx(1.25)
    assert exponent(sizes[::-1], [3 * size for size in sizes[::-1]]) == pytest.approx(1)


def test_scaling_refuses_too_few_sizes_for_an_exponent(script, capsys):
    with pytest.raises(SystemExit):
        script("scaling").main(["--batches", "8", "16"])
    says(capsys.readouterr().err, "at least 3 sizes", "batch")


def test_picture_of_scaling_shows_medians_over_elements(script):
    times = {"tfnorm": {"median_ms": 2.0}, "keras": {"median_ms": 8.0}}
    row = {"points": [{"elements": 10, "times": times}, {"elements": 20, "times": times}]}
    assert script("scaling").x_times(row) == {"tfnorm": ([10, 20], [2.0, 2.0]), "keras": ([10, 20], [8.0, 8.0])}


@pytest.fixture
def memory(script):
    """Return the benchmark of memory where it can measure."""
    module = script("memory")
    if module.unable():
        pytest.skip(module.unable())
    return module


def test_growth_is_what_lives_at_the_same_time(memory):
    mib = 2**20

    def step():
        first = np.ones(96 * mib, "uint8")
        del first
        return np.ones(64 * mib, "uint8").sum()

    growth, peak = memory.growth(step, 2)
    assert growth == pytest.approx(96, abs=8)
    assert peak > growth


def test_memory_writes_rows_and_a_picture(memory, tmp_path, monkeypatch):
    @functools.cache
    def here(library, arch, norm, batch, windows, steps):
        return memory.measure(library, arch, norm, batch, windows=windows, steps=steps)

    monkeypatch.setattr(memory, "fresh", here)
    monkeypatch.setattr(memory, "has_torch", lambda: False)
    tiny = "--archs mnist_7k --norms none --batches 2 --repeats 2 --windows 1 --steps 1 --name tiny"
    memory.main(tiny.split())
    [row] = json.loads((tmp_path / "tiny.json").read_text())["rows"]
    assert (row["arch"], row["norm"], row["batch"]) == ("mnist_7k", "none", 2)
    assert set(row["memory"]) == {"keras", "tfnorm"} and list(row["ratio"]) == ["tfnorm over keras"]
    assert row["memory"]["keras"]["process"]["median_mib"] > 100
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.matrix
def test_memory_measures_in_a_process_of_its_own(memory):
    pytest.importorskip("torch")
    sizes = memory.fresh("torch", "mnist_7k", "bn", 16, 2, 2)
    assert 0 < sizes["step"] < sizes["process"]


def test_picture_of_memory_shows_the_peaks_of_a_step(script):
    sizes = {"tfnorm": {"step": {"median_mib": 2.0}}, "keras": {"step": {"median_mib": 3.0}}}
    row = {"arch": "mnist_7k", "norm": "bn", "batch": 64, "memory": sizes}
    assert script("memory").x_peaks([row]) == {"mnist_7k, batch 64": {"tfnorm": {"bn": 2.0}, "keras": {"bn": 3.0}}}


def test_memory_says_where_it_cannot_measure(script, monkeypatch, tmp_path):
    module = script("memory")
    monkeypatch.setattr(module, "RESET", tmp_path / "none")
    with pytest.raises(SystemExit) as stopped:
        module.main([])
    says(stopped.value.code, "/proc", sys.platform)


def test_accuracy_compares_means_with_the_spread_of_seeds(script, monkeypatch, tmp_path):
    accuracy = script("accuracy")
    given = {"fast": [98.0, 99.0], "generic": [98.0, 98.2], "fast bfloat16": [90.0, 90.1]}
    monkeypatch.setattr(accuracy, "accuracy", lambda way, norm, seed, chosen: given[way][seed])
    accuracy.main(["--norms", "bn", "--seeds", "2", "--name", "tiny"])
    [row] = json.loads((tmp_path / "tiny.json").read_text())["rows"]
    assert row["mean"] == pytest.approx({"fast": 98.5, "generic": 98.1, "fast bfloat16": 90.05})
    assert row["within_one_std"] == {"fast": True, "fast bfloat16": False}
    assert (tmp_path / "tiny.png").read_bytes().startswith(b"\x89PNG")


def test_accuracy_takes_the_generic_path_and_comes_back(script, monkeypatch):
    import tensorflow as tf

    from tfnorm import layers
    from tfnorm.ops import generic

    seen = []
    for name in ("group_norm", "relu"):
        monkeypatch.setattr(generic, name, lambda x, *rest, name=name, **options: seen.append(name) or x)
    chain = [layers.GroupNormalization(2), layers.ReLU(), layers.Dropout(0.5, seed=1)]

    def run():
        x = np.ones((2, 4, 4, 2), "float32")
        for layer in chain:
            x = layer(x, training=True) if isinstance(layer, layers.Dropout) else layer(x)

    with script("accuracy").generic_path():
        run()
    assert seen == ["group_norm", "relu"]
    with tf.GradientTape():  # without one all paths are plain
        run()
    assert seen == ["group_norm", "relu"]


@pytest.fixture
def images(tmp_path):
    """Return a folder with small files of images in the place of MNIST and CIFAR-10."""
    rng = np.random.default_rng(0)
    for name, shape in (("mnist", (28, 28)), ("cifar10", (32, 32, 3))):
        x, y = rng.integers(0, 256, (120, *shape), "uint8"), np.arange(120, dtype="uint8") % 10
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    return tmp_path


@pytest.mark.matrix
def test_recipes_are_tried_on_held_out_training_images_and_go_on(script, images, capsys):
    recipes = script("recipes")
    words = f"A --candidates sgd muon --norms bn gn:2 --epochs 1 --jobs 1 --data-dir {images} --out {images / 'runs'}"
    recipes.main(words.split())
    record = json.loads((images / "recipes_A.json").read_text())
    tried = {(row["candidate"], row["norm"]): row["held_out"] for row in record["rows"]}
    assert set(tried) == {("sgd", "bn"), ("sgd", "gn:2"), ("muon", "bn"), ("muon", "gn:2")}
    assert all(len(found) == 1 and 0 <= found[0] <= 100 for found in tried.values())
    (place,) = record["settings"].pop("trained")
    assert place.endswith(f"TensorFlow {record['versions']['tensorflow']}")
    assert record["settings"] == {"system": "A", "precision": "float32", "epochs": 1, "holdout": 0.1}
    for config in (images / "runs").rglob("config.json"):
        assert json.loads(config.read_text())["data"]["test_images"] == 12
    before = {path: path.stat().st_mtime_ns for path in (images / "runs").rglob("history.jsonl")}
    assert len(before) == 4
    recipes.main(words.split())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    recipes.main(f"A --candidates sgd --epochs 1 --jobs 1 --data-dir {images} --out {images / 'runs'}".split())
    assert len(json.loads((images / "recipes_A.json").read_text())["rows"]) == 4
    with pytest.raises(SystemExit):
        recipes.main(["A", "--candidates", "sdg"])
    says(capsys.readouterr().err, "'sdg'", "A", "published, sgd")


def test_jpeg_compresses_training_and_test_images_alike(script, monkeypatch, tmp_path, capsys):
    from tfnorm.datasets import load

    jpeg = script("jpeg")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 8, 8, 3), "uint8").repeat(4, 1).repeat(4, 2)
    labels = np.arange(24) % 10
    np.savez(tmp_path / "cifar10.npz", x_train=coarse, y_train=labels, x_test=coarse[:8], y_test=labels[:8])
    given, seen = load("cifar10", data_dir=tmp_path), []
    monkeypatch.setattr(jpeg._measure, "train_for_accuracy", lambda **asked: seen.append(asked) or 50.0 + asked["seed"])
    jpeg.main(f"--data-dir {tmp_path} --qualities 90 10 --seeds 2 --epochs 3 --shift 0".split())
    rows = json.loads((tmp_path / "jpeg.json").read_text())["rows"]
    assert [(row["quality"], row["accuracies"], row["mean"]) for row in rows] == [
        (quality, [50.0, 51.0], 50.5) for quality in (None, 90, 10)
    ]
    # Half the resolution of the colours costs most of it: random colours are the worst case.
    assert rows[0]["psnr_db"] is None and 10 < rows[2]["psnr_db"] < rows[1]["psnr_db"] - 1 < 30
    fine, poor = seen[2]["data"], seen[4]["data"]
    for images in ("x_train", "x_test"):
        assert (getattr(seen[0]["data"], images) == getattr(given, images)).all()
        # Compressing again at the same quality changes far less than the first time.
        again = jpeg.compressed(getattr(poor, images), 10)
        before = jpeg.psnr(getattr(given, images), getattr(poor, images))
        assert jpeg.psnr(getattr(poor, images), again) > before + 5
        # With other blocks it changes far more.
        elsewhere = jpeg.compressed(getattr(poor, images), 10, shift=5)
        assert elsewhere.shape == again.shape
        assert jpeg.psnr(getattr(poor, images), elsewhere) < jpeg.psnr(getattr(poor, images), again) - 3
    assert jpeg.psnr(given.x_train, fine.x_train) == pytest.approx(rows[1]["psnr_db"], abs=1)
    assert (fine.y_train == given.y_train).all() and (fine.y_test == given.y_test).all()
    assert seen[0]["epochs"] == 3 and "quality 10" in capsys.readouterr().out
    assert [seen[0][name] for name in ("norm", "arch", "recipe")] == ["bn", "cifar_residual", "E"]


def test_jpeg_halves_images_and_compresses_them_once_and_twice(script, monkeypatch, tmp_path, capsys):
    from tfnorm.datasets import load

    jpeg, seen = script("jpeg"), []
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), "uint8")
    np.savez(tmp_path / "cifar10.npz", x_train=images, y_train=np.arange(20) % 10, x_test=images[:9], y_test=range(9))
    monkeypatch.setattr(jpeg._measure, "train_for_accuracy", lambda **asked: seen.append(asked) or 50.0)
    jpeg.main(f"--halved --data-dir {tmp_path} --qualities 75 --shift 3 --name half".split())
    given, once, twice = (asked["data"].x_train for asked in seen)
    assert given.shape == (20, 16, 16, 3)
    corner = load("cifar10", data_dir=tmp_path).x_train[3, :2, 4:6].astype("float64").mean((0, 1))
    np.testing.assert_allclose(given[3, 0, 2], corner, atol=0.5)
    np.testing.assert_array_equal(once, jpeg.compressed(given, 75))
    np.testing.assert_array_equal(twice, jpeg.compressed(once, 75, 3))
    record = json.loads((tmp_path / "half.json").read_text())
    assert [(row["quality"], row["times"]) for row in record["rows"]] == [(None, 0), (75, 1), (75, 2)]
    assert record["settings"]["side"] == 16 and "quality 75, twice" in capsys.readouterr().out


@pytest.mark.parametrize(("system", "epochs"), [("A", 5), ("E", 10)])
def test_seeds_of_both_libraries_are_written(script, images, monkeypatch, capsys, system, epochs):
    seeds, asked = script("seeds"), []

    def train(name, norm, data, seed, epochs):
        asked.append((name, norm, len(data.x_train), epochs))
        return 90.0 + seed

    monkeypatch.setattr(seeds, "LIBRARIES", {"tfnorm": train, "torch": train})
    seeds.main(["--system", system, "--data-dir", str(images), "--seeds", "2"])
    record = json.loads((images / f"seeds_{system}.json").read_text())
    assert [row["library"] for row in record["rows"]] == ["tfnorm", "torch"]
    for row in record["rows"]:
        assert (row["accuracies"], row["mean"], row["std"]) == ([90.0, 91.0], 90.5, pytest.approx(0.5**0.5))
    assert record["settings"] == {"seeds": 2, "epochs": epochs} and set(asked) == {
        (system, seeds.SYSTEMS[system].norm, 120, epochs)
    }
    seeds.main(["--libraries", "torch", "--data-dir", str(images), "--seeds", "2", "--name", "alone", "--norm", "LN"])
    (row,) = json.loads((images / "alone.json").read_text())["rows"]
    assert (row["library"], row["norm"], asked[-1][1]) == ("torch", "ln", "ln")
    with pytest.raises(SystemExit):
        seeds.main(["--data-dir", str(images), "--norm", "bn+l1=1e-4"])
    says(capsys.readouterr().err, "L2", "bn+l1=1e-4")


# tfnorm's own tests say that a run is the same again.
TRAINED = [
    pytest.param("tfnorm", "A", False, marks=pytest.mark.matrix),
    ("torch", "A", True),
    pytest.param("tfnorm", "A", True, marks=pytest.mark.matrix),
    *(pytest.param(*case, True, marks=pytest.mark.matrix) for case in itertools.product(("tfnorm", "torch"), "BDE")),
]


@pytest.mark.parametrize(("library", "system", "again"), TRAINED)
def test_each_library_trains_every_system(script, images, system, library, again):
    from tfnorm.datasets import load

    if library == "torch":
        pytest.importorskip("torch")
    seeds = script("seeds")
    data, train = load(seeds.load_published(system).settings["dataset"], data_dir=images), seeds.LIBRARIES[library]
    norms = ["gn:1+l2=1e-5"] if system == "D" else ["gn:size=4", "ln"] if system == "B" else []
    for norm in [seeds.SYSTEMS[system].norm, *norms]:
        first = train(system, norm, data, 0, 1)
        assert 0 <= first <= 100
        if again:
            assert first == train(system, norm, data, 0, 1)


def test_pytorch_gets_the_images_of_e_from_the_same_layer(script, images):
    torch = pytest.importorskip("torch")
    from tfnorm.datasets import augmentation, load

    seeds = script("seeds")
    data = load("cifar10", data_dir=images)
    given = torch.tensor(data.x_train).permute(0, 3, 1, 2).float()
    changed = seeds._layer("E", 3, data)(given)
    expected = augmentation("E", seed=3, mean=data.mean)(data.x_train, training=True)
    np.testing.assert_allclose(changed.permute(0, 2, 3, 1).numpy(), expected, atol=1e-3)
    # A quarter of the images is changed.
    assert 10 < (changed != given).any(3).any(2).any(1).sum() < 50


def test_pytorch_rotates_and_shears_images_by_five_degrees(script):
    torch = pytest.importorskip("torch")
    seeds = script("seeds")
    torch.manual_seed(0)
    dot = torch.zeros(64, 1, 29, 29)
    dot[:, :, 14, 24] = 1.0
    moved = seeds._moved(seeds.SYSTEMS["A"])(dot)
    rows = (moved * torch.arange(29.0).view(1, 1, 29, 1)).sum((1, 2, 3)) / moved.sum((1, 2, 3))
    # Ten pixels to the right of the centre, a rotation of up to 5 degrees moves it up or down by up to 0.87 pixels.
    assert 0.5 < (rows - 14).abs().max() <= 0.9


def test_decisions_are_simulated_and_written(script, tmp_path, capsys):
    module = script("decisions")
    rows = ["all equal", "2 specs, one worse by the margin"]
    module.main(["--repetitions", "4", "--paths", "25000", "--rows", *rows, "--name", "tiny"])
    record = json.loads((tmp_path / "tiny.json").read_text())
    assert [row["row"] for row in record["rows"] if row["method"] == "tfnorm"] == rows
    assert np.isfinite(numbers(record["rows"])).all()
    assert all(3 * row["specs"] <= row["runs"] <= 20 * row["specs"] for row in record["rows"])
    assert {row["method"] for row in record["rows"]} == {"tfnorm", *module._field.METHODS}
    bounds = json.loads((tmp_path / "tiny_bounds.json").read_text())["rows"]
    assert bounds[0]["failed"] == pytest.approx(0.05, rel=0.2)
    assert "2 specs, one worse by the margin, tfnorm" in capsys.readouterr().out


def test_what_flaws_cost_is_trained_and_rows_of_other_rules_are_kept(script, tmp_path, monkeypatch):
    module = script("checks")
    kept = [{"rule": "labels", "flaw": "kept", "remedy": "", "flawed": [1.0], "mended": [2.0]}]
    (tmp_path / "checks.json").write_text(json.dumps({"rows": kept}))
    monkeypatch.setattr(module, "trained", lambda made, **_: float(made().count_params()))
    module.main(["constant-norm", "--seeds", "2"])
    record = json.loads((tmp_path / "checks.json").read_text())
    first, second = record["rows"]
    assert first == kept[0] and second["rule"] == "constant-norm" and record["settings"]["seeds"] == 2
    assert len(second["flawed"]) == len(second["mended"]) == 2 and np.isfinite(numbers(second["flawed"])).all()


def test_what_counts_as_a_wrong_decision(script):
    module = script("decisions")
    found = np.array([[0], [1], [-1], [2]])
    assert module.wrongs(found, (0.0, 0.0)).tolist() == [False, True, True, False]
    assert module.wrongs(found, (0.2, 0.0)).tolist() == [False, False, True, False]
    assert module.wrongs(found, (0.0, 0.5)).tolist() == [False, True, False, True]


def test_methods_of_others_agree_with_scipy(script):
    field = script("decisions")._field
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3, 8)) + np.array([0.0, 0.0, 0.9])[:, None]
    tested = [stats.friedmanchisquare(*of).pvalue < 0.05 for of in values]
    found = field.friedman(values, 0.5)
    assert 40 < sum(tested) < 160 and [bool(any(of)) for of in found] == tested
    assert (found[:, 1:] == field.SECOND).sum() > 50 > (found == field.FIRST).sum()
    paired = [stats.ttest_rel(of[0], of[2]).pvalue < 0.05 / 3 for of in values]
    assert [abs(of[1]) == 1 for of in field.paired_t(values, 1e-9)] == paired
    [first] = field.rope(np.array([[[3.0, 3.1, 2.9, 3.0], [0.0, 0.1, 0.0, -0.1]]]), 0.5)
    assert first.tolist() == [field.FIRST]
