"""Registries: order, lookups and the sentences for unknown and repeated names."""

import pytest
from facts import says

import tfnorm
from tfnorm.errors import ArchitectureError, DataError, RunError, SpecError, TfnormError, nearest, unknown
from tfnorm.models.architectures import ARCHITECTURES
from tfnorm.norms import NORMS
from tfnorm.registry import Registry


def make_registry(error=TfnormError):
    colours = Registry("colour", error)
    for number, name in enumerate(("red", "green", "blue")):
        colours.add(name, number)
    return colours


def test_mapping_in_the_order_of_adding():
    colours = make_registry()
    assert list(colours) == ["red", "green", "blue"]
    assert len(colours) == 3
    assert dict(colours) == {"red": 0, "green": 1, "blue": 2}
    assert "red" in colours and "pink" not in colours
    assert colours.add("pink", 7) == 7 and colours["pink"] == 7


@pytest.mark.parametrize("error", [TfnormError, SpecError, ArchitectureError, DataError, RunError])
def test_unknown_name(error):
    with pytest.raises(error) as caught:
        make_registry(error)["geen"]
    # A snapshot of the sentence that every registry shares.
    assert str(caught.value) == "Unknown colour 'geen'. Did you mean 'green'? Use one of: red, green, blue."
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["zzz", 3, None, ["?"]])
def test_unknown_name_with_nothing_near(name):
    with pytest.raises(TfnormError) as caught:
        make_registry()[name]
    says(caught, f"{name!r}", "red, green, blue")


def test_get_with_a_default_raises_too():
    with pytest.raises(TfnormError):
        make_registry().get("zzz", 5)


def test_repeated_name():
    colours = make_registry(SpecError)
    with pytest.raises(SpecError) as caught:
        colours.add("red", 9)
    says(caught, "'red'", "another name")
    assert colours["red"] == 0


def test_nearest_and_unknown():
    assert nearest("GM", ["bn", "gn"]) == "gn"
    assert nearest("gm", []) is None
    says(unknown("word", "x", ["abc"]), "'x'", "abc")


def test_public_lists_are_the_registries():
    assert tfnorm.list_norms() == list(NORMS)
    assert tfnorm.list_architectures() == list(ARCHITECTURES)
    assert set(tfnorm.list_architectures()) >= {
        "mnist_7k",
        "cifar_plain",
        "cifar_dilated",
        "mnist_layered",
        "cifar_residual",
        "resnet20",
        "resnet18",
        "resnet50",
    }
    assert {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100"} <= set(tfnorm.list_datasets())
