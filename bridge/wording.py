"""The words by which `likeness` reads a question: what carries no meaning, what means the same, what rewrites to what.

Compact and general on purpose: a word that is missing here costs a reuse, a wrong one would give a false answer. So
nothing stands here that means the same only sometimes (remove/delete, in/within, may/can).
"""

import re

WH = frozenset("what who whom whose when where why how".split())
ADVERBIAL = frozenset("when where why how".split())
DEGREES = frozenset("many much long often far".split())
BE = frozenset("is are am was were be been being".split())
DO = frozenset("do does did".split())
PAST = frozenset("was were did had".split())
MODALS = {
    "can": "can",
    "could": "can",
    "may": "may",
    "might": "might",
    "must": "must",
    "should": "should",
    "will": "will",
    "would": "would",
}
DROPPED = frozenset("a an the that there please exactly actually precisely my our i we".split())
ARTICLES = frozenset("a an the my our".split())
DETERMINERS = frozenset("a an the my our your his her its their this that these those each every any some".split())
RELATORS = frozenset(
    "of to from into onto by before after than over under above below between against until since without with as per "
    "in on at for about during within through via and or but if unless because while when where who which".split()
)
FRONTED = frozenset(
    "in on at for about during after before if with without from under within since until when according".split()
)
# Commonest words of other languages that are no English ones: what holds one is compared word by word.
FOREIGN = frozenset(
    "der das und nicht kein keine ist wie wer wo wann warum ein eine zu von mit für nach le les est et que qui quel "
    "quelle ne du une pour pas el los las una por para cuál cual qué quién quien il che di della sono non è não nao "
    "em um uma quem het een niet geen och att är som ikke og til".split()
)
# English for certain; and those dropped ones that mean something in other languages ("a" is Spanish for "to").
ENGLISH = frozenset("the of does did is are can should must which have has for with from and".split()) | WH
ELSEWHERE = frozenset("a i an do am was be my that".split())
# A name and a common word by its case alone: the case decides.
CASED = frozenset(
    "polish turkey may march china apple us it who mark bill rose will jordan chad mercury august reading nice java go "
    "python rust swift ruby amazon word excel office access windows may lent mobile catholic job orange".split()
)

_SAME = """
allow permit|begin start commence|buy purchase|choose select|fix repair|help assist|need require necessary|
show display|use utilize utilise|big large|quick fast rapid|car automobile|doctor physician|film movie|
phone telephone|photo photograph|maximum max maximal|minimum minimal min|nearest closest|depart leave|
change modify alter|license licence|traveler traveller|color colour|center centre|meter metre|liter litre|
kilometer kilometre km|kilogram kilo kg|centimeter centimetre cm|millimeter millimetre mm|percent % |
info information|config configuration|docs documentation|db database|email e-mail|amp ampere|fridge refrigerator|
lorry truck|annual yearly|happen occur|shut close|organize organise|recognize recognise|behavior behaviour|
neighbor neighbour|labor labour|favor favour|gray grey|program programme|catalog catalogue|dialog dialogue|child kid|
couch sofa|movie-theater cinema|defense defence|aluminum aluminium|fiber fibre|theater theatre
"""
SAME = {word: group.split()[0] for group in _SAME.replace("\n", "").split("|") for word in group.split()}

_IRREGULAR = """
be been|become became|begin began begun|bite bitten|break broke broken|bring brought|build built|buy bought|
catch caught|choose chose chosen|come came|deal dealt|do done|draw drew drawn|drive drove driven|eat ate eaten|
fall fell fallen|feed fed|find found|fly flew flown|forget forgot forgotten|get got gotten|give gave given|
go went gone|grow grew grown|hear heard|hide hid hidden|hold held|keep kept|know knew known|lay laid|lead led|
leave left|lend lent|lose lost|make made|mean meant|meet met|pay paid|run ran|say said|see saw seen|sell sold|
send sent|shake shook shaken|show shown|speak spoke spoken|spend spent|steal stole stolen|take took taken|
teach taught|tell told|think thought|throw threw thrown|understand understood|wear wore worn|win won|
write wrote written
"""
IRREGULAR = {form: group.split()[0] for group in _IRREGULAR.replace("\n", "").split("|") for form in group.split()[1:]}

# "Inform the heir of the death": not the death's heir.
OF_VERBS = frozenset(
    "inform remind accuse rob cure warn convince notify deprive advise assure relieve clear empty strip suspect "
    "convict think tell ask rid free".split()
)
# What is set for a thing is the thing's.
ATTRIBUTES = frozenset(
    "address deadline default interval limit maximum minimum password port schedule size symptom timeout "
    "version".split()
)
# They look as if they had an ending, or are other words without it.
UNENDING = frozenset(
    "news goods customs glasses arms means always lens gas bus series species red bed shed hundred sacred "
    "wicked naked only family reply supply apply early daily weekly monthly yearly hourly "
    "bring thing something nothing anything everything during headquarters string king ring spring wing sing "
    "morning evening ceiling ms mrs mr kids pants physics economics mathematics politics ethics electronics".split()
)

_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS: dict[str, str] = {
    **{word: str(n) for n, word in enumerate(_TO_TWENTY.split())},
    **{word: str(10 * n) for n, word in enumerate(_TENS.split(), 2)},
    "hundred": "100",
    "thousand": "1000",
    "once": "1x",
    "twice": "2x",
    "dozen": "12",
}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ORDINALS = {word: f"{n}th" for n, word in enumerate(_ORDINALS.split(), 1)}

MISSPELT = {
    "teh": "the",
    "waht": "what",
    "whta": "what",
    "wich": "which",
    "whcih": "which",
    "hwo": "how",
    "wehn": "when",
    "whre": "where",
    "thier": "their",
    "fo": "of",
    "ot": "to",
    "adn": "and",
    "recieve": "receive",
}

_SOMEBODY = "(?:i|we|you|one|someone|people)"
# What is said around a question and asks nothing.
_BEFORE = (
    r"(?:hi|hello|hey|good morning)(?: there| all| everyone)?[,!.]*\s+",
    r"(?:please|kindly)[, ]\s*",
    r"(?:so|ok|okay|well),\s*",
    r"(?:can|could|would|will) (?:you|someone|anyone)(?: please| kindly)? "
    r"(?:(?:tell|explain|give|show|let)(?: to)? (?:me|us)(?: know)?|(?:tell|explain|describe)(?= (?:how|why|wh)))\s+",
    r"(?:tell|give|explain|show|let)(?: to)? (?:me|us)(?: know)?\s+",
    r"(?:explain|describe)\s+(?=(?:how|why|what|when|where|who|which|the)\b)",
    r"do you (?:happen to )?know\s+(?=(?:how|why|what|when|where|who|which|if|whether)\b)",
    r"(?:any idea|does anyone know|does anybody know)\s+",
    r"(?:i|we)(?: would|'d)? (?:like|want|need) to (?:know|find out|learn|understand)[:,]?\s+",
    r"i(?:'m| am| was) (?:wondering|curious|trying to find out|looking for)\s+",
    r"(?:i have a |a )?(?:quick )?question[:,]\s*",
)
AROUND = [re.compile("^" + one, re.IGNORECASE) for one in _BEFORE]
AFTER = re.compile(
    r"\s*[,.!?]\s*(?:please|thanks(?: a lot| so much| in advance)?|thank you(?: very much)?|cheers)[\s.!?]*$",
    re.IGNORECASE,
)

_MEASURES = (
    ("deep", "depth"),
    ("tall", "height"),
    ("high", "height"),
    ("heavy", "weight"),
    ("old", "age"),
    ("wide", "width"),
    ("fast", "speed"),
)
# (what is written, what is read): ways of asking that ask the same.
_REWRITES: tuple[tuple[str, str], ...] = (
    (r"\bwhich\b", "what"),
    (r"\b(what|who|where|when|why|how|there|it|that)'s\b", r"\1 is"),
    (r"\bcannot\b", "can not"),
    (r"\bcan't\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bshan't\b", "shall not"),
    (r"n't\b", " not"),
    (r"'ll\b", " will"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"\bi'm\b", "i am"),
    (r"\bshall\b", "will"),
    (r"\bought to\b", "should"),
    (r"^for what reasons? ", "why "),
    (r"^how come ", "why "),
    (r"^what (?:is|was|are) the reasons? (?:that |why )?(?!for\b|of\b|behind\b|to\b)", "why "),
    (r"^in what way ", "how "),
    (r"^what (?:is|would be) the (?:right |correct |proper )?way to ", "how to "),
    (r"^what are the steps to ", "how to "),
    (rf"^how (?:can|could|do|does|should) {_SOMEBODY} (?!not\b)", "how to "),
    (r"^where (?:i|we|one) (?:can|could|should) ", "where to "),
    (r"^what year (did|was|were) ", r"when \1 "),
    (r"^(?:what|how much) do(?:es)? (.+) cost$", r"what is the cost of \1"),
    (r"^(?:what|how much) did (.+) cost$", r"what was the cost of \1"),
    (r"^(?:what|how much) do(?:es)? (.+) weigh$", r"what is the weight of \1"),
    (r"^what (?:is|are) (.+?) (?:used )?for$", r"what is the purpose of \1"),
    (r"^what purpose do(?:es)? (.+) (?:have|serve)$", r"what is the purpose of \1"),
    *((rf"^how {adjective} (is|are|was|were) ", rf"what \1 the {noun} of ") for adjective, noun in _MEASURES),
    (r"^where (?:can|could|do|does|should) (?:i|we|one) (?!not\b)", "where to "),
    (r"^what (?:is|was) the (?:total )?number of (\S+)(?: who| that)?\b", r"how many \1"),
    (r"^what (?:kinds?|types?|sorts?) of ", "what kind of "),
    (r"^what number of ", "how many "),
    (r"\bhow frequently\b", "how often"),
    (r"^(?:for )?how (?:much time|long)\b", "how long"),
    (r"^(?:what (?:person|people)|who is it that) ", "who "),
    (r"^what is it that ", "what "),
    (r"^(?:in|on|at) what (year|month|day|date|time)\b", r"what \1"),
    (r"^what (?:is|are) (?:meant by|the definition of) ", "what is the meaning of "),
    (r"^what do(?:es)? (.+) mean$", r"what is the meaning of \1"),
    (r"\b(is|are|was|were) there any\b", r"\1 there"),
    (r"\b(?:turn|switch) on\b", "enable"),
    (r"\b(?:turn|switch) off\b", "disable"),
    (r"\bwhat will happen\b", "what happens"),
    (r"^what happens (?:when|if|in case)\b", "what happens if"),
    (rf"\b(?:do|does) ({_SOMEBODY}) (?:have|need) to\b", r"must \1"),
    (r"(?<!not )\b(?:has|have|needs?|is required|are required) to\b", "must"),
    (r"^is it possible (?:for me |for us )?to\b", "can i"),
    (r"^(?:is it (?:allowed|permitted)|am i (?:allowed|permitted)|are we (?:allowed|permitted)) to\b", "may i"),
    (r"\b(?:is|are) able to\b", "can"),
    (r"\bin order to\b", "to"),
    (r"\bper ?cent\b", "percent"),
    (r"\bask(ed|ing)? for\b", r"request\1"),
    (r"\bback(?:ed|s|ing)? up\b", "backuped"),
    (r"\baccording to (?:the |my |our )?(?:documents?|files?|notes|documentation|docs),? ?", ""),
)
REWRITES = [(re.compile(one, re.IGNORECASE), other) for one, other in _REWRITES]
