import pytest

from indexer.sentences import holds, sentences

PROSE = "The kiln cools for twelve hours before anybody opens its door."


@pytest.mark.parametrize(
    "around",
    [
        f"# The kiln and everything that belongs to it, in one place.\n\n{PROSE}",
        f"{PROSE}\n\n| Programme | Degrees |\n|---|---|\n| Stoneware glaze for the large bowls | 1240 at the end. |",
        f"```\nThe kiln is hot and nobody may open it at all today.\n```\n{PROSE}",
        f"Stoneware glaze     for the large bowls     is fired twice at the end.\n\n{PROSE}",
        f"- {PROSE}\n- short",
        f"[7] Miller A, Garcia B, Okafor C. Kiln Cooling And Its Dangers. Annals Of Ceramics Research.\n\n{PROSE}",
        f"See https://example.org/a-page-about-the-kiln for what there is to know about it.\n\n{PROSE}",
        "The kiln cools for twelve\nhours before anybody\nopens its door.",
        "The **kiln** cools for [twelve hours](https://example.org/12) before `anybody` opens its door.",
    ],
)
def test_only_what_reads_as_prose_is_a_sentence(around: str) -> None:
    assert sentences(around) == [PROSE]
    assert holds(around, PROSE)


def test_a_sentence_that_is_the_heading_above_it_is_none() -> None:
    assert sentences(PROSE, heading=f"Workshop > {PROSE}") == []


def test_abbreviations_and_initials_end_no_sentence() -> None:
    text = "The glaze was mixed by Dr. M. Weber, i.e. Anna's sister. Nobody else has ever known the exact amounts."
    first, second = text.split(" Nobody")
    assert sentences(text) == [first, f"Nobody{second}"]


CODE = '''
def cooled(degrees):
    """Whether the kiln may be opened, which the guild allows below one hundred degrees.

    Raises:
        TooHot: else.
    """
    # The thermocouple reads low while the fan
    # runs, so that a margin of ten is added.
    return degrees + 10 < 100  # never the raw value; a burnt hand is no test of it.
'''
SLASHES = """
/**
 * Whether the kiln may be opened, which the guild allows below one hundred degrees.
 */
function cooled(degrees) {
    // The thermocouple reads low while the fan
    // runs, so that a margin of ten is added.
    return degrees + 10 < 100;
}
"""


@pytest.mark.parametrize(("path", "text"), [("kiln.py", CODE), ("web/kiln.TS", SLASHES)])
def test_of_code_comments_and_docstrings_are_read(path: str, text: str) -> None:
    found = sentences(text, path)
    assert sorted(found) == [
        "The thermocouple reads low while the fan runs, so that a margin of ten is added.",
        "Whether the kiln may be opened, which the guild allows below one hundred degrees.",
    ]
    assert all(holds(text, sentence) for sentence in found)


@pytest.mark.parametrize(
    "text",
    [
        "工具を拭いて、元の場所に戻してから帰ってください。",
        "窑炉在打开之前需要冷却十二个小时以上。",
        "यह भट्ठी खोलने से पहले बारह घंटे तक ठंडी होती है और बंद रहती है।",
        "Der Ofen kühlt zwölf Stunden, z.B. über Nacht, bevor ihn jemand öffnet.",
    ],
)
def test_other_scripts_and_languages_have_sentences_too(text: str) -> None:
    assert sentences(text) == [text]
    assert sentences(f"{text} {text.replace('。', '！')}\n\n{text[:12]}")[0] == text


def test_lines_of_a_script_without_blanks_are_joined_without_one() -> None:
    assert sentences("窑炉在打开之前\n需要冷却十二个小时以上。") == ["窑炉在打开之前需要冷却十二个小时以上。"]
