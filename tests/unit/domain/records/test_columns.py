"""Numbers and coded texts out of columns of texts."""

import math

import pytest

from domain.records.decimals import parse_number, parse_numbers
from domain.records.dictionary import encode_texts
from domain.records.spans import Spans
from tests.unit.domain.records.samples import bits


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        "-0.0",
        "5.",
        ".5",
        "+5",
        "132.2046",
        "-132.2046",
        "00012",
        "9007199254740993",
        "1e5",
        "1E-5",
        "0.1234567890123456789",
        "123456789012345678901234567890",
        " 5\t",
        "99999999.99999999",
        "5e-324",
    ],
)
def test_a_number_is_what_float_makes_of_it(text: str) -> None:
    assert bits(parse_numbers(Spans.of_texts([text]))[0]) == bits(float(text))
    assert bits(parse_number(text.encode())) == bits(float(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "-.",
        "+",
        "1_0",
        "0x10",
        "nan",
        "inf",
        "-Infinity",
        "1e400",
        "-1e400",
        "1.2.3",
        "1-2",
        "--1",
        "1 2",
        "abc",
        "true",
        "\u0661\u0662",
        "1,5",
        "1\x00",
    ],
)
def test_what_is_no_finite_number_is_nan(text: str) -> None:
    column = parse_numbers(Spans.of_texts([text, "1"]))
    assert math.isnan(column[0])
    assert column[1] == 1
    assert math.isnan(parse_number(text.encode()))


def test_texts_are_coded_in_order_of_first_appearance() -> None:
    column = encode_texts(Spans.of_texts(["b", "", "a", "b", "\xe9", "a"]))
    assert column.values == ["b", "a", "\xe9"]
    assert column.codes.tolist() == [0, -1, 1, 0, 2, 1]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 63, 64, 65, 300])
def test_long_columns_of_any_width_are_coded_as_a_dict_would(length: int) -> None:
    texts = [f"{i * 7919 % 613:x}".rjust(length, "x")[-length:] for i in range(2000)]
    column = encode_texts(Spans.of_texts(texts))
    assert column.values == list(dict.fromkeys(texts))
    assert [column.values[code] for code in column.codes.tolist()] == texts


def test_a_nul_in_a_text_is_told_from_filling_and_replaced() -> None:
    texts = ["a", "a\0", "a\ufffd", "a\0\0"] * 100
    column = encode_texts(Spans.of_texts(texts))
    assert column.values == ["a", "a\ufffd", "a\ufffd\ufffd"]
    assert column.codes.tolist()[:4] == [0, 1, 1, 2]


def test_texts_with_newlines_stay_apart() -> None:
    spans = Spans.of_texts(["a\nb", "", "c"])
    assert spans.raw(spans.lengths.nonzero()[0]) == [b"a\nb", b"c"]
    assert len(spans) == 3
