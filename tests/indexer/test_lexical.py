import math
import random
import time
import unicodedata
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from py_rust_stemmers import SnowballStemmer  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from indexer import bm25, lexical


def test_words_of_one_stem_are_one_term_and_stop_words_none() -> None:
    assert lexical.terms("The pumps").tolist() == lexical.terms("pump").tolist()
    assert lexical.terms("where is it").tolist() == []


def test_terms_keep_the_reading_order() -> None:
    a, b = lexical.terms("boiler")[0], lexical.terms("gasket")[0]
    assert lexical.terms("gasket, boiler; gasket").tolist() == [b, a, b]


def test_a_long_identifier_takes_time_in_proportion() -> None:
    began = time.process_time()
    assert len(lexical.terms("aB1" * 10_000)) == 1
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("谷仓", "灯笼挂在谷仓里"),
        ("猫", "黒い猫がいる"),
        ("書", "図書館は九時に開く"),
        ("人々", "町の人々が集まった"),
        ("𠮷野", "𠮷野家で食べた"),
        ("パソコン", "GPU搭載ﾉｰﾄﾊﾟｿｺﾝ"),
        ("搭載", "GPU搭載モデル"),
        ("gpu", "ＧＰＵ搭載モデル"),
        ("がぎ", "か\u3099き\u3099"),
        ("학교", "어제 학교에서 만났다"),
        ("책", "책을 빌렸다"),
        ("도서관", "도서관에서는 조용히"),
        ("學校", "學校에서 만났다"),
        ("ห้องสมุด", "พบกันที่ห้องสมุดวันเสาร์"),
        ("ดี", "อากาศดีมาก"),
        ("ສະບາຍ", "ຂ້ອຍສະບາຍດີ"),
        ("ភាសា", "ខ្ញុំរៀនភាសាខ្មែរ។"),
        ("စာကြည့်", "မြို့စာကြည့်တိုက်"),
        ("किताब", "मेरी किताब, मेज़ पर"),
        ("நூலகம்", "நகர நூலகம் திறந்தது"),
        ("замок", "старый за\u0301мок"),
        ("كتاب", "كِتَابٌ جديد"),
        ("istanbul", "İstanbul güzel"),
        ("葛", "葛\U000e0100飾区"),
    ],
)
def test_a_word_within_text_is_found_in_every_script(word: str, text: str) -> None:
    terms = set(lexical.terms(word).tolist())
    assert terms
    assert terms <= set(lexical.terms(text).tolist())


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("क", "किताब"),  # a letter whose vowel sign was cut off
        ("谷歌", "灯笼挂在谷仓里"),
        ("학생", "어제 학교에서 만났다"),
        ("ดี", "ดาว"),
    ],
)
def test_another_word_with_some_of_the_letters_is_not_found_whole(word: str, text: str) -> None:
    assert not set(lexical.terms(word).tolist()) <= set(lexical.terms(text).tolist())


def test_signs_that_follow_an_emoji_or_digit_are_no_words() -> None:
    assert lexical.terms("1\ufe0f\u20e3 ❤\ufe0f").tolist() == lexical.terms("1").tolist()


_ENGLISH: Any = SnowballStemmer("english")  # pyright: ignore[reportUnknownVariableType]


def _stems(words: str, stemmer: Any = _ENGLISH) -> list[int]:
    return [zlib.crc32(stemmer.stem_word(word).encode()) for word in words.split()]


def test_text_in_latin_letters_has_the_terms_of_its_words_without_accents() -> None:
    text = "Naïve RÉSUMÉ: ﬁne ½ of x² Straße, e\u0301te\u0301 2.5-fold — don’t"
    assert lexical.terms(text).tolist() == _stems("naive resume fine 1 2 x2 strasse ete 2 5 fold don t")


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("getUserName", "getusername get user name"),
        ("HTTPServer", "httpserver http server"),
        ("max_batch_size", "max_batch_size max batch size"),
        ("__init__", "__init__"),
        ("covid19", "covid19 covid 19"),
        ("FY2019", "fy2019 fy 2019"),
        ("3M_2018_10K", "3m_2018_10k 3m 2018 10k"),
        ("utf8Decode", "utf8decode utf8 decode"),
        ("naïve_bayes", "naive_bayes naive bayes"),
        ("h1n1", "h1n1"),
        ("McKinley", "mckinley kinley"),
        ("RNAs", "rnas"),
        ("CoV", "cov"),
        ("NL63", "nl63"),
        ("max_k", "max_k max k"),
        ("1,234,567", "1234567"),
        ("1,23", "1 23"),
        ("os.path", "os path"),
    ],
)
def test_an_identifier_is_found_whole_and_by_its_parts(identifier: str, words: str) -> None:
    assert lexical.terms(identifier).tolist() == _stems(words)


def test_a_word_is_stemmed_by_the_rules_of_its_language() -> None:
    asked = dict.fromkeys(lexical.asked("Kündigungen der Mieter", ["english", "german"]))
    german = lexical.terms("Die Kündigung eines Mieters", "german").tolist()
    assert [any(form in german for form in word.forms) for word in asked] == [True, False, True]
    alone = lexical.asked("Kündigungen Mieter")
    assert not any(form in german for form in alone[0].forms)


def test_the_parts_of_an_identifier_weigh_less_than_it_does_itself() -> None:
    asked = lexical.asked("the getUserName")
    whole, *parts = _stems("getusername get user name")
    assert asked == [lexical.Word((whole,), tuple(parts))]
    sparse = bm25.query_vector(lexical.asked("getUserName of the user"))
    weights = dict(zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True))
    assert weights == {whole: 1, parts[0]: bm25.PART, parts[1]: 1, parts[2]: bm25.PART}


def test_who_leaves_the_accents_out_finds_the_word() -> None:
    assert lexical.terms("Muller", "german").tolist() == lexical.terms("Müller", "german").tolist()
    assert lexical.terms("й").tolist() != lexical.terms("и").tolist()


NOTES = [
    "图书馆每周六上午九点开门，借书请带证件。",
    "锅炉的压力阀每年需要检查一次。",
    "新员工的入职培训安排在星期一下午。",
    "服务器的备份保存在外接硬盘上。",
    "他的猫喜欢睡在窗台上晒太阳。",
    "会议室在三楼，投影仪需要提前预约。",
    "请把发票寄到财务部门报销。",
    "図書館は毎週土曜日の午前九時に開きます。",
    "ボイラーの圧力弁は年に一度点検してください。",
    "新入社員の研修は月曜日の午後に行います。",
    "サーバーのバックアップは外付けディスクに保存しています。",
    "隣の犬は夜になるとよく吠える。",
    "会議室は三階にあり、プロジェクターは予約が必要です。",
    "領収書は経理部に送ってください。",
    "ห้องสมุดเปิดทุกวันเสาร์เวลาเก้าโมงเช้า",
    "ต้องตรวจสอบวาล์วความดันของหม้อไอน้ำปีละครั้ง",
    "การอบรมพนักงานใหม่จัดขึ้นในบ่ายวันจันทร์",
    "ข้อมูลสำรองของเซิร์ฟเวอร์เก็บไว้ในฮาร์ดดิสก์ภายนอก",
    "แมวของเขาชอบนอนริมหน้าต่าง",
    "ห้องประชุมอยู่ชั้นสาม ต้องจองโปรเจคเตอร์ล่วงหน้า",
    "กรุณาส่งใบเสร็จไปที่แผนกบัญชี",
]
QUESTIONS = [
    "图书馆什么时候开门",
    "锅炉阀门的检查",
    "员工培训在哪天",
    "备份在哪里",
    "猫",
    "怎么预约投影仪",
    "发票寄给谁",
    "図書館は何時に開くのか",
    "圧力弁の点検",
    "研修はいつ",
    "ﾊﾞｯｸｱｯﾌﾟはどこに保存",
    "犬",
    "プロジェクターを予約したい",
    "領収書の送り先",
    "ห้องสมุดเปิดกี่โมง",
    "ตรวจวาล์วหม้อไอน้ำ",
    "อบรมพนักงานวันไหน",
    "ข้อมูลสำรองอยู่ที่ไหน",
    "แมว",
    "จองโปรเจคเตอร์",
    "ส่งใบเสร็จ",
]


def test_questions_without_spaces_find_the_note_that_answers_them() -> None:
    """BM25 as the store has it."""
    notes = [bm25.document_vector(lexical.terms(note)) for note in NOTES]
    held = Counter(index for note in notes for index in note.indices.tolist())
    idf = {index: math.log(1 + (len(notes) - n + 0.5) / (n + 0.5)) for index, n in held.items()}

    def score(question: str, note: bm25.Sparse) -> float:
        asked = set(lexical.terms(question).tolist())
        weights = zip(note.indices.tolist(), note.values.tolist(), strict=True)
        return sum(idf[index] * weight for index, weight in weights if index in asked)

    firsts = [max(range(len(notes)), key=lambda at: score(question, notes[at])) for question in QUESTIONS]
    assert sum(first == at for at, first in enumerate(firsts)) >= 20


def test_packing_loses_nothing() -> None:
    terms = lexical.terms("a lantern hangs in the barn")
    assert lexical.unpack(lexical.pack(terms)).tolist() == terms.tolist()


def test_repetition_saturates_and_length_is_charged() -> None:
    def weight(text: str) -> float:
        sparse = bm25.document_vector(lexical.terms(text))
        return float(sparse.values[sparse.indices.tolist().index(int(lexical.terms("pump")[0]))])

    assert weight("pump") < weight("pump pump") < weight("pump " * 50) < bm25.K1 + 1
    assert weight("pump " + "gasket " * 400) < weight("pump")


def test_a_query_counts_each_word_once() -> None:
    sparse = bm25.query_vector(lexical.asked("pump pump gasket"))
    assert (len(sparse.indices), np.unique(sparse.values).tolist()) == (2, [1.0])


SCRIPTS = (
    *(
        "The lantern's GUI_x2 hangs, twice. ",
        "Straße Café Cafe\u0301 ÉCOLE ﬁve ½ ㎏ № ",
        "ΟΔΟΣ ὁδός İstanbul İ ",
        "ёлка ЁЛКА ",
    ),
    *(
        "灯笼挂在谷仓里",
        "図書館のﾊﾟｿｺﾝは",
        "か\u3099き\u3099",
        "어제 학교에서 ",
        unicodedata.normalize("NFD", "책을 빌렸다 "),
    ),
    *("ห้องสมุดดี", "ទីក្រុងភ្នំពេញ ", "কো\u09c7\u09be हिन्दी ", "שָׁלוֹם ", "مُحَمَّد ", "𠮷野家 ", "n\u0303 \u0301x", "👩‍👩‍👧 "),
)


def test_each_term_is_where_it_says_in_whatever_script() -> None:
    for text in SCRIPTS:
        for start, end, term in lexical.spans(text):
            assert term in lexical.terms(text[start:end]), ascii(text[start:end])
    marked = "Cafe\u0301 CAFÉS, GUI_x2"
    assert [marked[start:end] for start, end, _ in lexical.spans(marked)] == [
        "Cafe\u0301",
        "CAFÉS",
        "GUI_x2",
        "GUI",
        "x2",
    ]


def test_terms_with_and_without_their_places_are_the_same() -> None:
    chance = random.Random(5)
    letters = "".join(SCRIPTS)
    for text in (*SCRIPTS, *("".join(chance.choices(letters, k=40)) for _ in range(300))):
        assert [term for _, _, term in lexical.spans(text)] == lexical.terms(text).tolist(), ascii(text)
