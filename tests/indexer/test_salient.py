"""Questions made from texts: about the right thing, in other words than the file's, the same each time."""

from collections.abc import Mapping

from indexer.runs import Runs
from indexer.salient import Item, Text, Unasked, questions

KILN = "The kiln cools for 12 hours until the thermocouple shows ninety degrees, and Brandt keeps its door locked."
SAW = "The table saw has a riving knife behind the blade, which nobody of the workshop may ever take away."
PRESS = "The letterpress prints postcards from wooden type, inked with rollers that Okafor cleans every evening."


def made(files: Mapping[str, str], most: int = 100, each: int = 3, seed: int = 0) -> list[Item | Unasked]:
    return questions({path: [Text(text)] for path, text in files.items()}, most, each, seed)


def items(files: Mapping[str, str], most: int = 100, each: int = 3, seed: int = 0) -> list[Item]:
    return [one for one in made(files, most, each, seed) if isinstance(one, Item)]


WORDS = """anvil bellows chisel dovetail emery ferrule gouge hacksaw inlay jigsaw kerosene lacquer mallet needle ochre
pliers quarry rasp solder tongs umber varnish wicker yarn zither awl bobbin clamp drill easel forge grout hinge ingot
jute knot loom mortar nail oak pestle quill rivet spindle tenon upholstery veneer wax
""".split()
CRAFTS = {
    f"{a}.md": f"Whoever borrows the {a} must bring along the {b}, the {c} and the {d}, or else every {e} breaks."
    for a, b, c, d, e in (WORDS[n : n + 5] for n in range(0, 45, 5))
}
FILES = {"kiln.md": KILN, "saw.md": SAW, "press.md": PRESS}


def test_every_file_is_asked_for_by_some_of_its_own_words() -> None:
    found = {item.path: item for item in items(FILES)}
    assert found.keys() == FILES.keys()
    for path, text in FILES.items():
        item, words = found[path], found[path].question.split()
        assert item.sentence == item.passage.text == text
        assert 4 <= len(words) <= 7
        assert all(word in text.lower() for word in words)


def test_function_words_numbers_and_a_part_of_the_content_are_hidden() -> None:
    for item in items(FILES):
        words = set(item.question.split())
        assert words.isdisjoint({"the", "for", "until", "and", "its", "which", "may", "12", "of", "with", "that"})
        assert item.question not in item.sentence.lower()
        assert len(words) <= 0.5 * len(item.sentence.split())


def test_the_same_files_give_the_same_questions_and_a_seed_takes_others() -> None:
    assert len(items(CRAFTS, most=4)) == 4
    assert items(CRAFTS, most=4) == items(dict(reversed(CRAFTS.items())), most=4)
    assert {item.path for item in items(CRAFTS, most=4)} != {item.path for item in items(CRAFTS, most=4, seed=1)}


def test_a_file_that_came_leaves_the_others_their_questions() -> None:
    assert {item.id for item in items(FILES)} < {item.id for item in items(FILES | CRAFTS)}


def test_what_stands_in_two_files_is_asked_of_neither_and_the_other_is_named() -> None:
    footer = "All rights reserved by the guild of potters, printers and joiners in the old harbour warehouse."
    files = {"kiln.md": f"{KILN} {footer}", "saw.md": f"{SAW} {footer}", "copy.md": SAW, "notes.md": footer}
    found = made(files)
    assert {one.sentence for one in found if isinstance(one, Item)} == {KILN}
    reasons = {one.path: one.reason for one in found if isinstance(one, Unasked)}
    assert reasons.keys() == {"saw.md", "copy.md", "notes.md"}
    assert "saw.md" in reasons["copy.md"] and "copy.md" in reasons["saw.md"]


def test_files_without_a_sentence_and_almost_without_text_are_told_apart() -> None:
    table = "\n".join(f"| bowl {n} | stoneware | {n} euros |" for n in range(40))
    reasons = {
        one.path: one.reason for one in made(FILES | {"t.md": table, "s.md": "Buy clay."}) if isinstance(one, Unasked)
    }
    assert reasons == {
        "t.md": "no whole sentence to ask about: tables, lists, headings, data or code",
        "s.md": "it has almost no text",
    }


def test_each_file_comes_once_before_any_comes_twice() -> None:
    kiln = [Text(KILN), Text("Glazes with copper turn red where the burner takes the oxygen out of the chamber.")]
    saw = [Text(SAW), Text("Blunt blades scorch the maple, so that a spare one hangs beside the extraction hose.")]
    files = {"kiln.md": kiln, "saw.md": saw, "press.md": [Text(PRESS)]}
    found = [one for one in questions(files, 100, 2) if isinstance(one, Item)]
    assert len(found) == 5
    assert {item.path for item in found[:3]} == files.keys()
    assert {one.path for one in questions(files, 3, 2)} == files.keys()
    assert len(questions(files, 2, 2)) == 2
    assert len(questions(files, 100, 1)) == 3


def test_of_one_passage_one_question_is_made() -> None:
    assert len(items({"both.md": f"{KILN} {SAW}", "press.md": PRESS})) == 2


def test_the_sentence_that_the_file_is_about_comes_before_one_that_is_rare_alone() -> None:
    aside = "Somebody once brought marzipan, zinnias, xylophones and quinces along for a feast without any reason."
    about = "A kiln must cool before its door opens, or cold air cracks the glaze of every bowl in the kiln."
    text = f"{aside} {about} The kiln has a door. The glaze cools. Bowls crack in cold air. The kiln door opens."
    first, *_ = items(FILES | {"about.md": text}, each=1)
    found = {item.path: item.sentence for item in items(FILES | {"about.md": text}, each=1)}
    assert found["about.md"] == about and first.question


def test_words_are_asked_for_in_the_form_that_the_files_use_most() -> None:
    text = "The printers cleaned rollers slowly while apprentices carried heavy cases of wooden type upstairs."
    (item,) = items({"a.md": f"{text} A roller is round. The roller is inked. One roller is kept."}, each=1)
    assert "roller" in item.question.split()


CHINESE = {
    "窑.md": "陶工协会的窑炉需要冷却十二个小时，温度降到九十度以下才可以打开炉门。"
    "炉门由管理员保管钥匙。窑炉冷却时不要打开炉门。",
    "锯.md": "工作室的台锯装有分料刀，任何会员都不可以拆下分料刀或者防护罩。台锯使用前请检查防护罩和分料刀。",
}


def test_text_without_spaces_is_asked_for_by_its_words() -> None:
    found = {item.path: item.question.split() for item in items(CHINESE, each=1)}
    assert found.keys() == CHINESE.keys()
    for path, words in found.items():
        assert 3 <= len(words) <= 7
        assert all(word in CHINESE[path] and 2 <= len(word) <= 4 for word in words)


def test_letters_that_often_stand_together_are_a_word() -> None:
    runs = Runs(["窑炉冷却", "打开窑炉", "窑炉温度", "冷却时间", "打开炉门", "温度下降", "检查冷却", "时间温度"])
    assert runs.cut("窑炉冷却温度") == ["窑炉", "冷却", "温度"]
    assert Runs([]).cut("ワークショップで作業") == ["ワークショップ", "で", "作", "業"]
    assert Runs(["人々"] * 3).cut("人々") == ["人々"]


def test_where_the_bond_is_weakest_a_word_ends_though_it_is_a_bond() -> None:
    others = ["子丑寅卯辰巳午未申酉戌亥"] * 40
    runs = Runs([*["甲乙"] * 10, *["丙丁"] * 10, *["甲乙丙丁"] * 5, *others])
    assert runs.cut("乙丙") == ["乙丙"]
    assert runs.cut("甲乙丙丁") == ["甲乙", "丙丁"]


def test_japanese_is_not_asked_for_by_its_endings_and_particles() -> None:
    text = "ドリルそれからベルトサンダーやトルクレンチやジグソーやハンマーはノートに書きます。"
    (item,) = items({"a.md": text}, each=1)
    assert {"ベルトサンダー", "トルクレンチ", "ジグソー"} <= set(item.question.split())
    assert "それから" not in item.question
