import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.scripts import SCRIPTS, script_of

SENTENCES = {
    "latin": "Fasse zusammen, was die Kundin über die Lieferung schreibt, und schlage höflich eine Antwort vor. ",
    "two-byte": "Коротко перескажи письмо клиентки о доставке и предложи вежливый ответ. ",
    "three-byte": "ग्राहक के पत्र का सार लिखो और एक विनम्र उत्तर सुझाओ। ",
    "cjk": "请概括客户关于送货的来信,并礼貌地建议一个答复。",
}


def request(*texts: str, escaped: bool = False) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"model": "z-ai/glm-5", "messages": messages}, ensure_ascii=escaped).encode()


@pytest.mark.parametrize("script", SENTENCES)
def test_the_script_is_that_of_the_text_not_of_the_fields_around_it(script: str) -> None:
    assert script_of(request(SENTENCES[script])) == script
    assert script_of(request(SENTENCES[script] * 500)) == script


@pytest.mark.parametrize(
    ("script", "escaped"),
    [("latin", "latin"), ("two-byte", "escaped"), ("three-byte", "escaped"), ("cjk", "escaped-cjk")],
)
def test_escaped_text_is_told_from_the_same_text_as_it_is(script: str, escaped: str) -> None:
    assert script_of(request(SENTENCES[script] * 3, escaped=True)) == escaped


@pytest.mark.parametrize(
    ("text", "script"),
    [
        *(("Γειά σου, πώς είσαι; ", "two-byte"), ("مرحبا، كيف حالك؟ ", "two-byte"), ("שלום, מה שלומך? ", "two-byte")),
        *(
            ("สวัสดีครับ สบายดีไหม ", "three-byte"),
            ("こんにちは、お元気ですか。", "cjk"),
            ("안녕하세요, 잘 지내세요? ", "cjk"),
        ),
        *(("“Quoted” – with an ellipsis… as editors do… ", "latin"), ("Żółć, gęś i ćma – łódź. ", "latin")),
    ],
)
def test_scripts_of_the_world_fall_where_their_bytes_put_them(text: str, script: str) -> None:
    assert script_of(request(text * 20)) == script


def test_an_image_hides_the_text_beside_it() -> None:
    image = base64.b64encode(random.Random(1).randbytes(90_000)).decode()
    assert script_of(request("What is in the picture?", f"data:image/png;base64,{image}")) == "encoded"


def test_code_and_token_numbers_are_no_image() -> None:
    assert script_of(request("def total(rows):\n    return sum(row.amount for row in rows)\n" * 50)) == "latin"
    assert script_of(json.dumps({"input": list(range(1000, 9000, 7))}, separators=(",", ":")).encode()) == "latin"


def test_a_conversation_that_begins_in_english_and_goes_on_in_chinese_is_chinese() -> None:
    assert script_of(request("You are a helpful assistant. " * 20, *[SENTENCES["cjk"] * 10] * 20)) == "cjk"


def test_nothing_has_no_script() -> None:
    assert script_of(b"") is None


@given(st.binary(min_size=1, max_size=5000))
def test_any_bytes_have_one_of_the_scripts(body: bytes) -> None:
    assert script_of(body) in SCRIPTS
