"""In which language is a text written (pure)? Asked for the stemmer's sake, so of the languages that have one.

By the share of function words, which make up a third of any prose: they tell a paragraph's language well, and leave
tables, code and lists of names to English.
"""

import re
from collections import Counter
from collections.abc import Mapping

ENGLISH = "english"
_WORDS: Mapping[str, str] = {
    ENGLISH: "the of and to in is that for it as was with be by on not he his but at are this have from or had they",
    "german": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "er hat dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur",
    "french": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec son "
    "cette aux ou ont été mais comme nous sa leur ses",
    "spanish": "de la que el en y a los se del las un por con una su para es al lo como más o pero sus le ha este sí "
    "porque esta son entre está cuando muy sin sobre",
    "portuguese": "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua "
    "ou quando muito nos já está eu também só pelo pela até isso",
    "italian": "di e il la che in a per un del è della con non i le da una si dei al sono nel come più gli delle alla "
    "lo ha anche ma se o su questo dalla dal",
    "dutch": "de het van een en in is dat op te zijn met voor niet die aan er om ook als dan maar bij of uit nog naar "
    "worden door over wordt was tot deze ze",
    "danish": "og i at det er en til på af den for med der de som ikke har et om vi var jeg men fra så eller hvor blev "
    "kan efter nu også",
    "norwegian": "og i det er på en til som av for at med de ikke den har et om var jeg men fra så eller hvor ble kan "
    "etter nå også være seg",
    "swedish": "och i att det som en på är av för med den till inte har de ett om var jag men från så eller där kan "
    "efter nu också vara sig",
    "finnish": "ja on ei että se hän oli joka mutta ovat kun niin myös olla sen tai kuin ole jos mukaan hänen sekä nyt "
    "vain jo siitä ne minä",
    "hungarian": "a az és hogy nem is egy ez meg csak de volt el van már mint vagy azt még ki ha fel lehet amely ezt "
    "után kell minden",
    "romanian": "de și în a la cu nu o pe care din că este un mai se pentru sa fi au ca sunt al fost dar după prin ce "
    "lui sau",
    "turkish": "ve bir bu da de için ile çok olarak daha olan gibi ne var ama kadar sonra en ki her değil ya o diye "
    "olduğu veya",
    "russian": "и в не на что я он с как это по но они к у его за от так же все мы из для был вы то о бы только",
    "greek": "και το να της την του η ο που με των για από στο οι είναι σε τα στην δεν θα τον τη τους στη ότι ένα μια",
    "arabic": "في من على أن إلى التي عن الذي ما لا هذا مع كان هذه أو بين كل قد بعد ذلك هو كما لم هي و",
    "tamil": "ஒரு என்று மற்றும் இந்த அந்த என்ற உள்ள இது அது அவர் இருந்து கொண்டு வேண்டும் ஆனால் போது",
}
LANGUAGES = tuple(_WORDS)

_OF: dict[str, list[str]] = {}
for _language, _words in _WORDS.items():
    for _one in _words.split():
        _OF.setdefault(_one, []).append(_language)

_LETTERS = re.compile(r"\b[^\W\d_]+\b")  # the a of 3a7e is no word
_CHARS = 20_000  # of a text: enough to know
_LEAST_SHARE = 0.12  # of the words
_LEAST_WORDS = 5


def language_of(text: str) -> str:
    """One of `LANGUAGES`; English where none of them is plain."""
    words = _LETTERS.findall(text[:_CHARS].lower())
    counts = Counter(language for word in words for language in _OF.get(word, ()))
    if not counts:
        return ENGLISH
    # Of two that share most of such words, as Danish and Norwegian do, the one with more.
    best, count = counts.most_common(1)[0]
    plain = count >= _LEAST_WORDS and count >= _LEAST_SHARE * len(words) and count > counts[ENGLISH]
    return best if plain else ENGLISH
