"""The token estimate: near real tokenizers, steady, cheap to keep right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.decision import scripts, tokens
from runtime.decision.tokens import estimate, of_json, of_messages

# Counted once with each model's own tokenizer: GPT-4o, Llama 3, Qwen 3, DeepSeek V3, Gemma 3, Mistral's Tekken.
COUNTED: tuple[tuple[str, tuple[int, ...]], ...] = (
    (
        "Please write a short, friendly reply to the customer below. Thank them for "
        "their patience, explain that the parcel left our warehouse on Tuesday, and "
        "offer a ten percent discount on the next order if it has not arrived by the "
        "weekend.",
        (47, 47, 47, 47, 47, 47),
    ),
    (
        "Bitte schreiben Sie eine kurze, freundliche Antwort an die Kundin. Danken Sie "
        "ihr für ihre Geduld und erklären Sie, dass das Paket unser Lager am Dienstag "
        "verlassen hat.",
        (36, 42, 42, 44, 36, 40),
    ),
    (
        "Écrivez une réponse courte et aimable à la cliente. Remerciez-la de sa patience "
        "et expliquez que le colis a quitté notre entrepôt mardi dernier.",
        (35, 41, 41, 40, 37, 38),
    ),
    (
        "Escriba una respuesta breve y amable a la clienta. Agradézcale su paciencia y "
        "explíquele que el paquete salió de nuestro almacén el martes.",
        (35, 42, 43, 40, 35, 39),
    ),
    (
        "Пожалуйста, напишите короткий и дружелюбный ответ клиентке. Поблагодарите её за "
        "терпение и объясните, что посылка покинула наш склад во вторник.",
        (42, 48, 54, 49, 40, 48),
    ),
    (
        "请给这位客户写一封简短而友好的回信。感谢她的耐心等待，并说明包裹已于星期二从我们的仓库发出。",
        (38, 38, 29, 27, 32, 45),
    ),
    (
        "お客様に短く丁寧な返信を書いてください。お待ちいただいたことに感謝し、荷物は火曜日に倉庫を出たと説明"
        "してください。",
        (41, 42, 38, 41, 29, 43),
    ),
    (
        "고객에게 짧고 친절한 답장을 써 주세요. 기다려 주셔서 감사하다고 하고, 소포가 화요일에 "
        "창고에서 출발했다고 설명해 주세요.",
        (41, 44, 52, 50, 36, 38),
    ),
    (
        "اكتب ردًا قصيرًا وودودًا على العميلة. اشكرها على صبرها واشرح لها أن الطرد غادر مستودعنا يوم الثلاثاء.",
        (37, 41, 38, 39, 37, 36),
    ),
    (
        "ग्राहक को एक छोटा और मैत्रीपूर्ण उत्तर लिखें। उनके धैर्य के लिए धन्यवाद दें और "
        "बताएं कि पार्सल मंगलवार को हमारे गोदाम से निकल गया था।",
        (42, 65, 125, 77, 32, 48),
    ),
    (
        "def parse(line: str) -> dict[str, int]:\n"
        '    """Return the counts of one line."""\n'
        "    found = {}\n"
        '    for part in line.split(","):\n'
        '        name, _, count = part.partition("=")\n'
        "        if count.isdigit():\n"
        "            found[name.strip()] = int(count)\n"
        "    return found\n",
        (62, 61, 61, 66, 76, 64),
    ),
    (
        "{\n"
        '  "name": "order-service",\n'
        '  "version": "2.4.1",\n'
        '  "private": true,\n'
        '  "scripts": {\n'
        '    "build": "tsc -p .",\n'
        '    "test": "vitest run"\n'
        "  },\n"
        '  "dependencies": {\n'
        '    "fastify": "^4.28.1",\n'
        '    "pg": "^8.12.0"\n'
        "  }\n"
        "}\n",
        (84, 84, 86, 85, 99, 86),
    ),
)


@pytest.mark.parametrize(("text", "counts"), COUNTED)
def test_the_estimate_is_within_a_quarter_of_the_mean_of_six_tokenizers(text: str, counts: tuple[int, ...]) -> None:
    mean = sum(counts) / len(counts)
    assert abs(estimate(text) - mean) <= max(2.0, 0.25 * mean), (estimate(text), mean)


def test_nothing_is_nothing_and_something_is_at_least_one() -> None:
    assert estimate("") == 0
    for text in ("a", " ", ".", "é", "漢", "\ud83d", "\0"):
        assert estimate(text) >= 1


def test_a_short_chat_is_what_openai_counts() -> None:
    assert of_messages(1) + estimate("Hello") == 8


@given(st.text(max_size=300))
@pytest.mark.slow
def test_any_text_has_an_estimate_no_larger_than_its_bytes_allow(text: str) -> None:
    assert 0 <= estimate(text) <= 2 * len(text.encode("utf-8", "surrogatepass")) + 1


PARAGRAPH = "The committee met on 12 May and agreed, after a long debate, to postpone the decision until autumn.\n"


@pytest.mark.parametrize("times", [1, 5, 11, 50, 500, 2000])
def test_a_sampled_text_is_estimated_like_its_parts(times: int) -> None:
    assert estimate(PARAGRAPH * times) == pytest.approx(times * estimate(PARAGRAPH), rel=0.1)


def test_a_sample_covers_both_ends_of_a_text() -> None:
    mixed = PARAGRAPH * 200 + "委员会于五月十二日开会，经过长时间讨论后决定。\n" * 200
    parts = estimate(PARAGRAPH * 200) + estimate("委员会于五月十二日开会，经过长时间讨论后决定。\n" * 200)
    assert estimate(mixed) == pytest.approx(parts, rel=0.1)


def test_json_is_a_quarter_of_its_bytes_rounded_up() -> None:
    assert [of_json(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


# --- counting scripts -----------------------------------------------------------------------------


@given(
    st.text(
        "aZ0 .\n\u00e9\u0161\u03b1\u0436\u05d0\u0627\u0915\u0e01\u3042\u6f22\ud55c\uff0c\u2014\U0001f642", max_size=60
    )
)
def test_every_unit_beyond_ascii_is_counted_once(text: str) -> None:
    plain = scripts.ascii_only(text)
    assert plain.decode() == "".join(char for char in text if char.isascii())
    counts = scripts.count(text, len(plain))
    assert sum(counts.values()) == len(text.encode("utf-16-le")) // 2 - len(plain)
    assert set(counts) <= set(scripts.SCRIPTS)
    assert set(scripts.SCRIPTS) == set(tokens.PER_UNIT)
