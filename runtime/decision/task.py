"""What kind of work a prompt asks for, told by the words of its first and last lines and by the signs of code.

Every keyword adds its points to its task once, twice if it is among the first words, where commands stand; the most
points win, `chat` if no task has enough. No model, no state: the same text gives the same answer everywhere.
"""

from __future__ import annotations

import re

from router_dsl.fields import TASKS

# What a person asks stands at the start, or behind the text that it is about; 320 characters are some 55 words.
HEAD_CHARS = 200
TAIL_CHARS = 120
SYSTEM_CHARS = 120
FIRST_WORDS = 12
# A weak word of body text is a coincidence; one at the start, or a strong one anywhere, is not.
LEAST_POINTS = 3

KEYWORDS = {
    # Commands that name the work whatever the text is about.
    ("translate", 4): """
        transl* überse* traduc* traduz* traduis traduit traduire traduisez tradurre vertaal vertal* przetł*
        tłumac* переве* перево* перекл* çevir çevirin tercüme ترجم ترجمة अनुवाद dịch terjem* översä* přelož*
        μετάφρ* תרגם""",
    ("summarize", 4): """
        summar* tldr zusamm* résume résumer résumé résumez resumen resumir resuma resumo riassu* samenv*
        streść streśc* podsum* резюме резюми* кратко краткое подыто* перескажи суммир* özet özetle özetleyin لخص
        تلخيص ملخص सारांश संक्षेप ringka* rangku* samman* shrň shrnutí tóm condense abridge gist recap""",
    ("extract", 4): """
        extrac* extrah* extrai* extrae extraia estrai estrar* classify classified classification classifier
        klassifiziere klassifizieren classifie classifique clasif* classifica classificeer catego* katego* wyodrę*
        sklasy* извлек* извлеч* классифицируй классифицируйте sınıfl* استخرج صنف निकालें निकालो वर्गीकृत ekstra*
        klasif* trích annotate entities""",
    ("extract", 2): "json csv yaml fields sentiment keywords identify label labels tag tags parse",
    # What code is called, in and around it.
    ("code", 3): """
        python javascript typescript golang rust sql html css regex debug refact* compil* algori* traceback
        stacktrace docker* kubern* bash unittest pytest django pandas numpy react nodejs php kotlin swift
        function functions postgr* mysql linux git github npm async segfault funktion fonction función função
        funzione functie funkcj* функци* fonksi* دالة फ़ंक्शन fungsi hàm код кода código codice програ* progra*
        скрипт скрипта programmiere endpoint codebase typeerror valueerror keyerror nullpo*""",
    ("code", 2): """
        code coding bug bugs api apis script program implement class query variable array loop kod kode mã كود
        برنامج कोड library unit test tests error exception""",
    ("math", 3): """
        equati* integral integrals deriva* differentiate theore* probability polyno* matrix matrices factor* sqrt
        algebra geomet* calcul* compute solve prove proof triang* berech* löse gleichung ableitung beweise
        wahrscheinlichkeit résous équati* dérivée intégrale démont* resuel* ecuaci* demues* resolva equaçã*
        calcol* risolv* equazi* bereken vergelijking oblicz* rozwiąż równan* вычисл* реши решите уравне*
        производную интеграл докажи докажите вероятность hesapla çöz denklem türev احسب معادلة गणना समीकरण tính
        hitung persam* logari* modulo arithm*""",
    ("math", 2): "sum percent percentage average square root multiply divided plus minus",
    ("write", 3): """
        essay poem poems story stories haiku lyrics slogan tagline novel screenplay sonnet limerick rewrite blog
        newsletter email mail letter speech toast eulogy caption gedicht geschichte aufsatz verfasse entwirf
        poème lettre histoire rédige rédigez poema carta cuento ensayo redacta redija conto poesia lettera
        racconto verhaal wiersz opowia* стих стихот* письмо рассказ эссе сочини şiir mektup hikaye قصيدة رسالة قصة
        कविता कहानी पत्र puisi surat cerita thơ proofread paraphrase rephrase""",
    ("write", 2): """
        write draft compose schreib schreibe écris écrivez escribe escreva scrivi schrijf napisz напиши напишите
        yaz yazın اكتب लिखें लिखो लिखिए tulis tuliskan viết skriv napiš""",
}
"""(Task, points) → words in lower case; `*` behind six letters stands for any ending."""

PHRASES = {
    ("translate", 4): "翻译 翻譯 译成 译为 訳し 翻訳 英訳 和訳 번역 แปล",
    ("summarize", 4): "总结 摘要 概括 概述 總結 归纳 要約 まとめて 요약 สรุป",
    ("extract", 4): "提取 抽取 分类 分類 识别 抽出 추출 분류 จำแนก",
    ("code", 3): """
        代码 代碼 函数 函數 编程 程式 脚本 関数 コード プログラム スクリプト 코드 함수 프로그램 스크립트 โค้ด ฟังก์ชัน""",
    ("math", 3): """
        计算 計算 方程 证明 證明 求解 积分 导数 概率 微分 積分 確率 解いて
        계산 방정식 증명 적분 미분 확률 คำนวณ สมการ""",
    ("write", 3): "作文 诗 詩 邮件 郵件 文章 故事 メール 物語 手紙 이메일 편지 이야기 จดหมาย บทความ นิทาน",
    ("write", 2): "写一 寫一 一封 撰写 書いて 작성 써줘 เขียน",
}
"""The same for scripts that put no spaces between words, and for Korean, whose endings stick to them: searched for."""

MARKS = (("```", ("code", 4)), ("c++", ("code", 3)), ("c#", ("code", 3)), ("tl;dr", ("summarize", 4)))
"""The same for what is no word."""

# Signs that program text has and prose has not; three kinds of them are code.
SIGNS = (
    "def ", "import ", "#include", "return ", "function(", "=> {", "();", "};", "</", "public class", "console.log",
)  # fmt: skip
SIGNS_ENOUGH = 3
SIGNS_POINTS = 4
ARITHMETIC = re.compile(r"[0-9)x\\](?: ?[+*^×÷=²] ?[-0-9(x]| [-/] [0-9(]|frac|int\b|sum\b|sqrt)")
ARITHMETIC_POINTS = 3

_Points = tuple[str, int]
_STEM_CHARS = 6


def _tables() -> tuple[dict[str, _Points], dict[str, _Points]]:
    words: dict[str, _Points] = {}
    stems: dict[str, _Points] = {}
    for points, listed in KEYWORDS.items():
        for word in listed.split():
            assert not word.endswith("*") or len(word) == _STEM_CHARS + 1, word
            table, key = (stems, word[:-1]) if word.endswith("*") else (words, word)
            table[key] = points
    return {word: points for word, points in words.items() if word[:_STEM_CHARS] not in stems}, stems


_WORDS, _STEMS = _tables()
_IS_WORD, _IS_STEM = frozenset(_WORDS), frozenset(_STEMS)
_PHRASES: dict[str, list[tuple[str, _Points]]] = {}
for _points, _listed in PHRASES.items():
    for _phrase in _listed.split():
        _PHRASES.setdefault(_phrase[0], []).append((_phrase, _points))
_PHRASE_START = re.compile(f"[{''.join(_PHRASES)}]")
_EDGES = '.,:;!?()[]{}"`*_<>«»“”„…¿¡—–،؟।|+='


def _words(lower: str) -> list[str]:
    for joint in "'’-/":
        lower = lower.replace(joint, " ")
    return [word.strip(_EDGES) for word in lower.split()]


def classify(text: str, *, images: int = 0, system: str = "") -> str:
    """Return one of `fields.TASKS` for a request.

    Args:
        text: The last message of the user.
        images: Pictures in the request; any makes it `vision`.
        system: System text, whose first words count as body text.
    """
    if images:
        return "vision"
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"
    points: dict[str, int] = {}
    lower = text.lower()
    words = _words(lower)
    _count(points, words[:FIRST_WORDS], 2)
    _count(points, words[FIRST_WORDS:], 1)
    if system:
        _count(points, _words(system[:SYSTEM_CHARS].lower()), 1)
    for mark, found in MARKS:
        if mark in lower:
            _add(points, found)
    if not lower.isascii():
        for start in set(_PHRASE_START.findall(lower)):
            for phrase, found in _PHRASES[start]:
                if phrase in lower:
                    _add(points, found)
    if sum([sign in text for sign in SIGNS]) >= SIGNS_ENOUGH:
        _add(points, ("code", SIGNS_POINTS))
    if ARITHMETIC.search(text):
        _add(points, ("math", ARITHMETIC_POINTS))
    if not points:
        return "chat"
    # By points, then in the order of the scheme, so that sets and dicts never decide.
    best = max(points, key=lambda task: (points[task], -TASKS.index(task)))
    return best if points[best] >= LEAST_POINTS else "chat"


def _count(points: dict[str, int], words: list[str], times: int) -> None:
    for word in _IS_WORD.intersection(words):
        _add(points, _WORDS[word], times)
    for stem in _IS_STEM.intersection([word[:_STEM_CHARS] for word in words if len(word) >= _STEM_CHARS]):
        _add(points, _STEMS[stem], times)


def _add(points: dict[str, int], found: _Points, times: int = 1) -> None:
    task, worth = found
    points[task] = points.get(task, 0) + worth * times
