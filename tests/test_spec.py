"""The grammar of norm specs: what is read, what is written, and every sentence for what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnorm.errors import SpecError
from tfnorm.norms import NORMS
from tfnorm.spec import FACTORS, NormSpec, check_groups, divisors, format, parse, with_penalties

ALL_NORMS = "none, bn, ln, gn, in, rms, frn"

CANONICAL = {
    "none": NormSpec("none"),
    "bn": NormSpec("bn"),
    "bn:sync": NormSpec("bn", variant="sync"),
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
    arguments = {"weight_standardization": draw(st.booleans())}
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
    "gm:2": f"Unknown norm 'gm' at character 1 of 'gm:2'. Did you mean 'gn'? Use one of: {ALL_NORMS}.",
    "zzz": f"Unknown norm 'zzz' at character 1 of 'zzz'. Use one of: {ALL_NORMS}.",
    "  qqq": f"Unknown norm 'qqq' at character 3 of '  qqq'. Use one of: {ALL_NORMS}.",
    "+l1=1e-4": f"Unknown norm '' at character 1 of '+l1=1e-4'. Use one of: {ALL_NORMS}.",
    "": f"The norm spec is empty. Use one of: {ALL_NORMS}.",
    "  ": f"The norm spec is empty. Use one of: {ALL_NORMS}.",
    "bn+l3=1e-4": (
        "Unknown modifier 'l3' at character 4 of 'bn+l3=1e-4'. Did you mean 'l2'? Use one of: ws, l1, l2, l2norm."
    ),
    "gn:4+ws+dropout=1": (
        "Unknown modifier 'dropout' at character 9 of 'gn:4+ws+dropout=1'. Use one of: ws, l1, l2, l2norm."
    ),
    "bn+  l2nrm=1": (
        "Unknown modifier 'l2nrm' at character 6 of 'bn+  l2nrm=1'. Did you mean 'l2norm'? "
        "Use one of: ws, l1, l2, l2norm."
    ),
    "bn+": "Unknown modifier '' at character 4 of 'bn+'. Use one of: ws, l1, l2, l2norm.",
    "gn": (
        "'gn' at character 1 of 'gn' needs groups. Write gn:4 for 4 groups or gn:size=4 for 4 channels per group, "
        "or pass groups=4."
    ),
    "gn:0": (
        "'0' in 'gn:0' at character 1 of 'gn:0' is no positive whole number. "
        "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group."
    ),
    "gn:-2": (
        "'-2' in 'gn:-2' at character 1 of 'gn:-2' is no positive whole number. "
        "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group."
    ),
    "gn:": (
        "'' in 'gn:' at character 1 of 'gn:' is no positive whole number. "
        "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group."
    ),
    "gn:size=2.5": (
        "'size=2.5' in 'gn:size=2.5' at character 1 of 'gn:size=2.5' is no positive whole number. "
        "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group."
    ),
    "gn:sise=4": ("Unknown option of gn 'sise' at character 1 of 'gn:sise=4'. Did you mean 'size'? Use one of: size."),
    "bn:foo": "Unknown option of bn 'foo' at character 1 of 'bn:foo'. Use one of: sync.",
    "bn:synk": "Unknown option of bn 'synk' at character 1 of 'bn:synk'. Did you mean 'sync'? Use one of: sync.",
    "ln:chanel": (
        "Unknown option of ln 'chanel' at character 1 of 'ln:chanel'. Did you mean 'channel'? Use one of: channel."
    ),
    "in:3": "'in' takes no option, but '3' follows it at character 1 of 'in:3'. Write 'in'.",
    "frn:": "'frn' takes no option, but '' follows it at character 1 of 'frn:'. Write 'frn'.",
    "bn+l1=1e-4+l1=1e-4": ("'l1=1e-4' at character 12 of 'bn+l1=1e-4+l1=1e-4' sets l1 a second time. Write it once."),
    "bn+ws+ws": "'ws' at character 7 of 'bn+ws+ws' sets weight_standardization a second time. Write it once.",
    "bn+ws=1": "'ws' takes no value, but 'ws=1' stands at character 4 of 'bn+ws=1'. Write '+ws'.",
    **{
        f"bn+l2={number}": (
            f"'l2={number}' at character 4 of 'bn+l2={number}' needs a positive number. Write for example 'l2=1e-4'."
        )
        for number in ("-1e-4", "0", "inf", "nan", "1e999", "", "much", "1e-4x")
    },
    "bn+l1": "'l1' at character 4 of 'bn+l1' needs a positive number. Write for example 'l1=1e-4'.",
    "gm:2+l3=1+l1=-1": (
        f"Unknown norm 'gm' at character 1 of 'gm:2+l3=1+l1=-1'. Did you mean 'gn'? Use one of: {ALL_NORMS}. "
        "Unknown modifier 'l3' at character 6 of 'gm:2+l3=1+l1=-1'. Did you mean 'l2'? "
        "Use one of: ws, l1, l2, l2norm. "
        "'l1=-1' at character 11 of 'gm:2+l3=1+l1=-1' needs a positive number. Write for example 'l1=1e-4'."
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistake(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value) == MISTAKES[text]


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (
            "gn:4",
            {"groups": 2},
            "'gn:4' at character 1 of 'gn:4' contradicts groups=2. Say the groups in one place only.",
        ),
        (
            "gn:4",
            {"group_size": 4},
            "'gn:4' at character 1 of 'gn:4' contradicts group_size=4. Say the groups in one place only.",
        ),
        (
            "gn:size=4",
            {"groups": 4, "group_size": 4},
            "'gn:size=4' at character 1 of 'gn:size=4' contradicts groups=4, group_size=4. "
            "Say the groups in one place only.",
        ),
        (
            "gn",
            {"groups": 2, "group_size": 4},
            "'gn' needs either a number of groups or a group size. Received: groups=2, group_size=4. "
            "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group.",
        ),
        ("gn", {"groups": 0}, "`groups` must be an integer of at least 1. Received: groups=0."),
        ("gn", {"groups": True}, "`groups` must be an integer of at least 1. Received: groups=True."),
        ("gn", {"group_size": 2.0}, "`group_size` must be an integer of at least 1. Received: group_size=2.0."),
        (
            "bn",
            {"groups": 2},
            "Only 'gn' has groups. Received: norm='bn', groups=2, group_size=None. Leave the groups out.",
        ),
        (
            NormSpec("gn", groups=4),
            {"groups": 2},
            "'gn:4' at character 1 of 'gn:4' contradicts groups=2. Say the groups in one place only.",
        ),
    ],
)
def test_groups_beside_the_string(text, arguments, sentence):
    with pytest.raises(SpecError) as caught:
        parse(text, **arguments)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", [3, None, b"bn", ["bn"]])
def test_no_string(text):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value) == f"A norm spec is a string such as 'gn:4+l1=1e-4'. Received: {text!r}."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "gm"}, f"Unknown norm 'gm'. Did you mean 'gn'? Use one of: {ALL_NORMS}."),
        (
            {"kind": "gn"},
            "'gn' needs either a number of groups or a group size. Received: groups=None, group_size=None. "
            "Write gn:4 for 4 groups or gn:size=4 for 4 channels per group.",
        ),
        (
            {"kind": "ln", "groups": 2},
            "Only 'gn' has groups. Received: norm='ln', groups=2, group_size=None. Leave the groups out.",
        ),
        ({"kind": "ln", "variant": "sync"}, "Unknown variant of 'ln' 'sync'. Use one of: channel."),
        ({"kind": "in", "variant": "channel"}, "'in' has no variants. Received: variant='channel'."),
        *[
            ({"kind": "bn", "l1": value}, f"`l1` must be a finite number of at least 0. Received: l1={value!r}.")
            for value in (-1, float("inf"), float("nan"), "1e-4", True, None)
        ],
    ],
)
def test_norm_spec_refuses(arguments, sentence):
    with pytest.raises(SpecError) as caught:
        NormSpec(**arguments)
    assert str(caught.value) == sentence


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
    ("text", "sentence"),
    [
        (
            "gn:5",
            "`groups` must divide the number of channels. Received: groups=5, channels=32 at layer 'conv3'. "
            "Use one of 1, 2, 4, 8, 16, 32.",
        ),
        (
            "gn:size=3",
            "`group_size` must divide the number of channels. Received: group_size=3, channels=32 at layer 'conv3'. "
            "Use one of 1, 2, 4, 8, 16, 32.",
        ),
    ],
)
def test_groups_that_do_not_divide(text, sentence):
    with pytest.raises(SpecError) as caught:
        check_groups(parse(text), 32, "conv3")
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["gn:8", "gn:size=32", "bn", "none"])
def test_groups_that_divide(text):
    assert check_groups(parse(text), 32, "conv3") is None


def test_with_penalties():
    assert with_penalties(parse("bn"), l1=1e-4, l2=2.0, l2norm=3) == NormSpec("bn", l1=1e-4, l2=2, l2norm=3)
    assert with_penalties(parse("bn+l1=1e-4"), l1=1e-4, l2=1.0) == NormSpec("bn", l1=1e-4, l2=1)
    assert with_penalties(parse("bn+l1=1e-4")) == parse("bn+l1=1e-4")
    with pytest.raises(SpecError) as caught:
        with_penalties(parse("gn:2+l2norm=1e-4"), l2norm=1e-3)
    assert str(caught.value) == ("The spec 'gn:2+l2norm=1e-4' contradicts l2norm=0.001. Say l2norm in one place only.")
    with pytest.raises(SpecError) as caught:
        with_penalties(parse("bn"), l1=-1)
    assert str(caught.value) == "`l1` must be a finite number of at least 0. Received: l1=-1."


def test_imports_no_keras(run_python):
    code = "import sys, tfnorm.spec; print([name for name in ('keras', 'tensorflow', 'numpy') if name in sys.modules])"
    assert run_python(code) == "[]"
