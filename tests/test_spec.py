"""The grammar of norm specs: what is read, what is written, and every sentence for what is refused."""

import numpy as np
import pytest
from facts import says
from hypothesis import given
from hypothesis import strategies as st

from tfnorm.errors import SpecError
from tfnorm.norms import NORMS
from tfnorm.spec import FACTORS, NormSpec, check_groups, divisors, format, parse, with_penalties

ALL_NORMS = "none, bn, ln, gn, in, rms, frn, keep"

CANONICAL = {
    "none": NormSpec("none"),
    "bn": NormSpec("bn"),
    "bn:sync": NormSpec("bn", variant="sync"),
    "bn:frozen": NormSpec("bn", variant="frozen"),
    "bn:frozen=all": NormSpec("bn", variant="frozen=all"),
    "bn:frozen=all+l2=1e-4": NormSpec("bn", variant="frozen=all", l2=1e-4),
    "keep": NormSpec("keep"),
    "keep+l2=1e-4": NormSpec("keep", l2=1e-4),
    "ln": NormSpec("ln"),
    "ln:channel": NormSpec("ln", variant="channel"),
    "gn:1": NormSpec("gn", groups=1),
    "gn:4": NormSpec("gn", groups=4),
    "gn:32": NormSpec("gn", groups=32),
    "gn:size=4": NormSpec("gn", group_size=4),
    "in": NormSpec("in"),
    "rms": NormSpec("rms"),
    "frn": NormSpec("frn"),
    "gn:8+ws": NormSpec("gn", groups=8, weight_standardization=True),
    "bn+ws": NormSpec("bn", weight_standardization=True),
    "none+l1=1e-4": NormSpec("none", l1=1e-4),
    "bn+l1=5e-4": NormSpec("bn", l1=5e-4),
    "gn:4+l1=0.099455391": NormSpec("gn", groups=4, l1=0.099455391),
    "gn:1+l2=6.604e-3": NormSpec("gn", groups=1, l2=6.604e-3),
    "gn:1+l2=2e-5": NormSpec("gn", groups=1, l2=2e-5),
    "bn+l1=0.05": NormSpec("bn", l1=0.05),
    "bn+l1=2": NormSpec("bn", l1=2.0),
    "bn+l1=1": NormSpec("bn", l1=1.0),
    "bn+l1=12.5": NormSpec("bn", l1=12.5),
    "bn+l2norm=1e-4": NormSpec("bn", l2norm=1e-4),
    "bn+l2norm=1e-300": NormSpec("bn", l2norm=1e-300),
    "bn+l1=4e-6+l2=1e-6": NormSpec("bn", l1=4e-6, l2=1e-6),
    "bn:sync+ws+l1=1e-4+l2=4e-4+l2norm=1e-4": NormSpec(
        "bn", variant="sync", weight_standardization=True, l1=1e-4, l2=4e-4, l2norm=1e-4
    ),
    "gn:size=2+ws+l2=0.25": NormSpec("gn", group_size=2, weight_standardization=True, l2=0.25),
    "ln:channel+l2norm=3e-3": NormSpec("ln", variant="channel", l2norm=3e-3),
}


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_string(text):
    assert parse(text) == CANONICAL[text]
    assert format(parse(text)) == text
    assert str(CANONICAL[text]) == text


def test_every_norm_and_variant_has_a_canonical_string_here():
    assert {spec.kind for spec in CANONICAL.values()} == set(NORMS)
    for name, info in NORMS.items():
        assert parse(info.example).kind == name
        assert format(parse(info.example)) == info.example
        for option in info.options:
            assert f"{name}:{option.replace('GROUPS', '4').replace('CHANNELS', '4')}" in CANONICAL


@st.composite
def specs(draw):
    kind = draw(st.sampled_from(list(NORMS)))
    arguments = {"weight_standardization": not NORMS[kind].of_the_model and draw(st.booleans())}
    if NORMS[kind].groups:
        arguments[draw(st.sampled_from(["groups", "group_size"]))] = draw(st.integers(1, 10**6))
    else:
        arguments["variant"] = draw(st.sampled_from(["", *NORMS[kind].variants]))
    positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
    for word in FACTORS:
        arguments[word] = draw(st.one_of(st.just(0.0), positive, st.decimals(0, 1, places=6).map(float)))
    return NormSpec(kind, **arguments)


@given(specs())
def test_format_then_parse_is_the_identity(spec):
    text = format(spec)
    assert parse(text) == spec
    assert format(parse(text)) == text
    assert " " not in text and text == text.lower()


@given(specs(), st.randoms(use_true_random=False))
def test_case_spaces_and_order_of_modifiers_do_not_matter(spec, random):
    norm, *modifiers = format(spec).split("+")
    random.shuffle(modifiers)
    text = " + ".join([norm, *modifiers])
    text = "".join(random.choice([letter.upper(), letter]) for letter in text)
    assert parse(f"  {text} ") == spec


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("BN", "bn"),
        (" gn : 4 ", "gn:4"),
        ("GN:Size = 4", "gn:size=4"),
        ("BN : Frozen = All", "bn:frozen=all"),
        ("gn:04", "gn:4"),
        ("Bn : Sync + L1 = 1E-4", "bn:sync+l1=1e-4"),
        ("bn+l2=1e-4+l1=0.001+ws", "bn+ws+l1=1e-3+l2=1e-4"),
        ("bn+l1=0.0005", "bn+l1=5e-4"),
        ("bn+l1=+5e-4", "bn+l1=5e-4"),
        ("bn+l1=1e+2", "bn+l1=100"),
        ("bn+l1=2.0", "bn+l1=2"),
        ("bn+l1=.5", "bn+l1=0.5"),
        ("bn+l1=6.604E-03", "bn+l1=6.604e-3"),
    ],
)
def test_other_spellings(text, canonical):
    assert format(parse(text)) == canonical


def test_parse_takes_a_spec_and_groups_beside_the_string():
    spec = NormSpec("gn", groups=4)
    assert parse(spec) is spec
    assert parse("gn", groups=2) == NormSpec("gn", groups=2)
    assert parse("gn+l1=1e-4", group_size=2) == NormSpec("gn", group_size=2, l1=1e-4)
    assert parse("gn:4", groups=4) == spec
    assert parse(spec, groups=4) == spec
    assert parse("gn:size=4", group_size=4) == NormSpec("gn", group_size=4)


MISTAKES = {
    "gm:2": ("'gm'", "character 1", "'gm:2'", "'gn'", ALL_NORMS),
    "zzz": ("'zzz'", "character 1", ALL_NORMS),
    "  qqq": ("'qqq'", "character 3", "'  qqq'", ALL_NORMS),
    "+l1=1e-4": ("''", "character 1", "'+l1=1e-4'", ALL_NORMS),
    "": ("empty", ALL_NORMS),
    "  ": ("empty", ALL_NORMS),
    "bn+l3=1e-4": (("'l3'", "character 4", "'bn+l3=1e-4'", "'l2'", "ws, l1, l2, l2norm")),
    "gn:4+ws+dropout=1": (("'dropout'", "character 9", "'gn:4+ws+dropout=1'", "ws, l1, l2, l2norm")),
    "bn+  l2nrm=1": (("'l2nrm'", "character 6", "'bn+  l2nrm=1'", "'l2norm'", "ws, l1, l2, l2norm")),
    "bn+": ("''", "character 4", "'bn+'", "ws, l1, l2, l2norm"),
    "gn": (("'gn'", "character 1", "gn:4", "gn:size=4", "groups=4")),
    "gn:0": (("'0'", "'gn:0'", "character 1", "gn:4", "gn:size=4")),
    "gn:-2": (("'-2'", "'gn:-2'", "gn:4", "gn:size=4")),
    "gn:": (("''", "'gn:'", "gn:4", "gn:size=4")),
    "gn:size=2.5": (("'size=2.5'", "'gn:size=2.5'", "gn:4", "gn:size=4")),
    "gn:sise=4": (("'sise'", "character 1", "'gn:sise=4'", "'size'")),
    "bn:foo": ("'foo'", "'bn:foo'", "sync"),
    "bn:synk": ("'synk'", "'bn:synk'", "'sync'"),
    "ln:chanel": (("'chanel'", "'ln:chanel'", "'channel'")),
    "in:3": ("'in'", "'3'", "'in:3'"),
    "frn:": ("'frn'", "''", "'frn:'"),
    "bn:frozen=some": (("'frozen=some'", "'bn:frozen=some'", "'frozen'", "sync, frozen, frozen=all")),
    "keep:all": ("'keep'", "'all'", "'keep:all'"),
    "bn+l1=1e-4+l1=1e-4": (("'l1=1e-4'", "character 12", "'bn+l1=1e-4+l1=1e-4'", "once")),
    "bn+ws+ws": ("'ws'", "character 7", "'bn+ws+ws'", "once"),
    "bn+ws=1": ("'ws=1'", "character 4", "'bn+ws=1'", "'+ws'"),
    **{
        f"bn+l2={number}": ((f"'l2={number}'", "character 4", f"'bn+l2={number}'", "positive", "'l2=1e-4'"))
        for number in ("-1e-4", "0", "inf", "nan", "1e999", "", "much", "1e-4x")
    },
    "bn+l1": ("'l1'", "character 4", "'bn+l1'", "positive", "'l1=1e-4'"),
    "gm:2+l3=1+l1=-1": (
        (
            "'gm'",
            "character 1",
            "'gn'",
            ALL_NORMS,
            "'l3'",
            "character 6",
            "'l2'",
            "ws, l1, l2, l2norm",
            "'l1=-1'",
            "character 11",
            "positive",
        )
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistake(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    says(caught, *MISTAKES[text])


@pytest.mark.parametrize(
    ("text", "arguments", "facts"),
    [
        (
            "gn:4",
            {"groups": 2},
            ("'gn:4'", "character 1", "groups=2", "one place"),
        ),
        (
            "gn:4",
            {"group_size": 4},
            ("'gn:4'", "group_size=4", "one place"),
        ),
        (
            "gn:size=4",
            {"groups": 4, "group_size": 4},
            ("'gn:size=4'", "groups=4, group_size=4", "one place"),
        ),
        (
            "gn",
            {"groups": 2, "group_size": 4},
            ("'gn'", "groups=2, group_size=4", "gn:4", "gn:size=4"),
        ),
        ("gn", {"groups": 0}, ("at least 1", "groups=0")),
        ("gn", {"groups": True}, ("at least 1", "groups=True")),
        ("gn", {"group_size": 2.0}, ("at least 1", "group_size=2.0")),
        ("bn", {"groups": 2}, ("'gn'", "norm='bn', groups=2", "Leave the groups out")),
        (
            NormSpec("gn", groups=4),
            {"groups": 2},
            ("'gn:4'", "groups=2", "one place"),
        ),
    ],
)
def test_groups_beside_the_string(text, arguments, facts):
    with pytest.raises(SpecError) as caught:
        parse(text, **arguments)
    says(caught, *facts)


@pytest.mark.parametrize("text", [3, None, b"bn", ["bn"]])
def test_no_string(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    says(caught, "'gn:4+l1=1e-4'", f"{text!r}")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"kind": "gm"}, ("'gm'", "'gn'", ALL_NORMS)),
        (
            {"kind": "gn"},
            ("'gn'", "groups=None, group_size=None", "gn:4", "gn:size=4"),
        ),
        (
            {"kind": "ln", "groups": 2},
            ("'gn'", "norm='ln', groups=2", "Leave the groups out"),
        ),
        ({"kind": "ln", "variant": "sync"}, ("'ln'", "'sync'", "channel")),
        ({"kind": "in", "variant": "channel"}, ("'in'", "no variants", "variant='channel'")),
        ({"kind": "keep", "weight_standardization": True}, ("'keep'", "'+ws'", "'gn:8+ws'")),
        *[
            ({"kind": "bn", "l1": value}, ("at least 0", f"l1={value!r}"))
            for value in (-1, float("inf"), float("nan"), "1e-4", True, None)
        ],
    ],
)
def test_norm_spec_refuses(arguments, facts):
    with pytest.raises(SpecError) as caught:
        NormSpec(**arguments)
    says(caught, *facts)


def test_numbers_of_numpy():
    spec = NormSpec("gn", groups=np.int64(4), l1=np.float32(1e-4), l2=np.float64(0.1))
    assert spec == parse("gn:4+l1=1e-4+l2=0.1")
    assert format(spec) == "gn:4+l1=1e-4+l2=0.1"
    assert type(spec.groups) is int
    with pytest.raises(SpecError):
        NormSpec("gn", groups=np.float64(4.0))


def test_specs_are_values():
    assert NormSpec("bn", l1=1) == NormSpec("bn", l1=1.0)
    assert {parse("gn:4"): 1}[NormSpec("gn", groups=4)] == 1
    with pytest.raises(AttributeError):
        parse("bn").kind = "ln"


def test_regularized():
    assert [parse(text).regularized for text in ("bn", "bn+ws", "bn+l1=1", "bn+l2=1", "bn+l2norm=1")] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_groups_of():
    assert parse("gn:4").groups_of(8) == 4
    assert parse("gn:size=4").groups_of(8) == 2
    assert parse("ln").groups_of(8) == 1


def test_divisors():
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert divisors(1) == [1]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "gn:5",
            ("groups=5", "channels=32", "'conv3'", "1, 2, 4, 8, 16, 32"),
        ),
        (
            "gn:size=3",
            ("group_size=3", "channels=32", "'conv3'", "1, 2, 4, 8, 16, 32"),
        ),
    ],
)
def test_groups_that_do_not_divide(text, facts):
    with pytest.raises(SpecError) as caught:
        check_groups(parse(text), 32, "conv3")
    says(caught, *facts)


@pytest.mark.parametrize("text", ["gn:8", "gn:size=32", "bn", "none"])
def test_groups_that_divide(text):
    assert check_groups(parse(text), 32, "conv3") is None


def test_with_penalties():
    assert with_penalties(parse("bn"), l1=1e-4, l2=2.0, l2norm=3) == NormSpec("bn", l1=1e-4, l2=2, l2norm=3)
    assert with_penalties(parse("bn+l1=1e-4"), l1=1e-4, l2=1.0) == NormSpec("bn", l1=1e-4, l2=1)
    assert with_penalties(parse("bn+l1=1e-4")) == parse("bn+l1=1e-4")
    with pytest.raises(SpecError) as caught:
        with_penalties(parse("gn:2+l2norm=1e-4"), l2norm=1e-3)
    says(caught, "'gn:2+l2norm=1e-4'", "l2norm=0.001", "one place")
    with pytest.raises(SpecError) as caught:
        with_penalties(parse("bn"), l1=-1)
    says(caught, "at least 0", "l1=-1")


def test_imports_no_keras(run_python):
    code = "import sys, tfnorm.spec; print([name for name in ('keras', 'tensorflow', 'numpy') if name in sys.modules])"
    assert run_python(code) == "[]"
