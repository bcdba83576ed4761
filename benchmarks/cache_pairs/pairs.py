"""Questions in pairs: `same` mean the same, `different` look alike and do not.

Those of `_later.txt` were written after the guard was, the others before; every second one of these is held out.
`made` fills templates of many fields, so that one kind of change is seen in many places.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle
from pathlib import Path

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Pair:
    kind: str
    first: str
    second: str
    held_out: bool


def same() -> list[Pair]:
    rows = [line.split(" | ") for line in _lines("same.txt")]
    found = [Pair("same", row[0], other, n % 2 == 1) for n, row in enumerate(rows) for other in row[1:]]
    later = [line.split(" | ") for line in _lines("same_later.txt")]
    return [*found, *(Pair("same", row[0], other, False) for row in later for other in row[1:])]


def different() -> list[Pair]:
    found = [Pair(kind, first, second, n % 2 == 1) for n, (kind, first, second) in enumerate([*_written(), *made()])]
    later = [line.split(" | ") for line in _lines("different_later.txt")]
    return [*found, *(Pair("later", first, second, False) for first, second in later)]


def _written() -> Iterator[tuple[str, str, str]]:
    kind = ""
    for line in _lines("different.txt"):
        if line.startswith("["):
            kind = line.strip("[]")
        else:
            first, second = line.split(" | ")
            yield kind, first, second


def _lines(name: str) -> list[str]:
    return [line for line in (_HERE / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]


_NUMBERED = (
    "How long may a vehicle of more than {} tonnes stay in the loading bay?",
    "What does the contract say about cancelling within {} days of delivery?",
    "Which safety rules apply to laboratories with {} or more workers?",
    "What is the recommended tyre pressure for a trailer with {} axles?",
    "How many reviewers must approve a change of more than {} lines?",
    "What treatment is advised for patients older than {} years?",
    "How is interest calculated on a deposit of {} thousand euros?",
    "What was the unemployment rate in the region {} years ago?",
    "How many points does a team get after {} consecutive victories?",
    "What does the recipe use when the cake is baked for {} guests?",
)
_NUMBERS = (("3", "4"), ("two", "three"), ("10", "100"), ("7", "17"), ("six", "eight"))
_NEGATED = (
    ("Which of the suppliers {} delivered the ordered parts in time?", "", "have not"),
    ("What should a pilot do when the landing gear {} locked?", "is", "is not"),
    ("Which passengers {} required to show a health certificate at the border?", "are", "are not"),
    ("Under which conditions {} the insurance pay for water damage?", "does", "doesn't"),
    ("Why {} the second experiment confirm the hypothesis?", "did", "didn't"),
    ("Which kinds of waste {} be thrown into the blue container?", "can", "cannot"),
    ("What are the consequences of driving {} a seat belt?", "with", "without"),
    ("Which members of the board {} voted for the merger?", "always", "never"),
    ("What happens to the deposit if the tenant {} clean the flat?", "does", "does not"),
    ("Which of the tested alloys {} corrode in sea water?", "do", "don't"),
    ("Which software packages {} allowed on company laptops?", "are", "aren't"),
    ("How do I install the database {} administrator rights?", "with", "without"),
    ("Which tickets {} be refunded after the concert has begun?", "can", "can't"),
    ("What are the rules for {} accompanied minors on board?", "", "not"),
    ("Which bacteria are {} sensitive to penicillin in the study?", "", "no longer"),
)
_SWAPPED = (
    ("How much heat flows from the {} to the {} in one hour?", "boiler", "radiator"),
    ("What did the {} promise the {} in the final agreement?", "union", "ministry"),
    ("How do I copy all photos from the {} to the {}?", "phone", "laptop"),
    ("Why does the {} depend on the {} during start-up?", "scheduler", "logger"),
    ("Is the {} more expensive than the {} over five years?", "diesel van", "electric van"),
    ("How did {} criticise {} in the newspaper article?", "Hartmann", "Oliveira"),
    ("Should the {} be applied before the {} on bare wood?", "varnish", "primer"),
    ("How does {} influence {} in teenagers?", "sleep", "exercise"),
    ("What happens when the {} overtakes the {} on the left?", "tram", "bus"),
    ("How can I translate a letter from {} into {}?", "Danish", "Turkish"),
    ("Which rights does the {} have against the {}?", "landlord", "tenant"),
    ("Why was the {} replaced by the {} in the new design?", "valve", "sensor"),
    ("How many times did the {} defeat the {} last season?", "Falcons", "Bears"),
    ("Does the {} send a confirmation to the {} after payment?", "bank", "shop"),
    ("What is the travel time by train from {} to {}?", "Graz", "Trieste"),
    ("When did the {} ask the {} for financial help?", "museum", "city"),
    ("Does {} produce {} in the second stage of the process?", "ammonia", "hydrogen"),
    ("Why did {} follow {} in the order of speakers?", "Dr. Chen", "Dr. Novak"),
    ("How is the {} protected from the {} in this circuit?", "motor", "battery"),
    ("Who introduced {} to {} at the conference dinner?", "Amara", "Jonas"),
)
_ENTITIES = (
    ("What is the maximum load of the {} crane in the harbour?", ("northern", "southern"), ("red", "blue")),
    ("Who was elected mayor of {} in the last local election?", ("Valencia", "Seville"), ("Porto", "Braga")),
    ("How do I configure single sign-on for the {} application?", ("payroll", "inventory"), ("finance", "travel")),
    ("Which side effects of {} were reported in the second trial?", ("aspirin", "paracetamol"), ("zinc", "iron")),
    ("What is the average lifespan of a {} in captivity?", ("lion", "tiger"), ("parrot", "falcon")),
    ("Where is the emergency exit in the {} building?", ("chemistry", "physics"), ("main", "old")),
    ("How often must the {} be inspected by a technician?", ("elevator", "escalator"), ("boiler", "chimney")),
    ("What does the {} department do with customer complaints?", ("legal", "sales"), ("shipping", "billing")),
    ("Which taxes apply to the import of {} from Canada?", ("wine", "beer"), ("steel", "timber")),
    ("What did the {} minister say about the railway strike?", ("transport", "interior"), ("French", "Italian")),
    ("How is the {} version of the manual distributed?", ("printed", "digital"), ("English", "Spanish")),
    ("What are the ingredients of the {} soup in the cookbook?", ("tomato", "pumpkin"), ("lentil", "onion")),
    ("How many seats does the {} theatre have after the renovation?", ("Apollo", "Odeon"), ("city", "court")),
    ("What is the phone number of the {} clinic in the town?", ("dental", "eye"), ("animal", "children's")),
    ("Why was the {} project delayed by several months?", ("bridge", "tunnel"), ("Aurora", "Borealis")),
)
_UNITS = (
    ("What is the allowed dose when a patient weighs 70 {}?", "kg", "lb"),
    ("How much fertiliser is needed for an area of 20 {}?", "hectares", "acres"),
    ("Which cable can carry a current of 15 {} safely?", "mA", "A"),
    ("How long does the device wait when the delay is set to 30 {}?", "seconds", "minutes"),
    ("What does it cost to ship a parcel of 4 {} to Norway?", "kg", "g"),
    ("How many photos fit on a memory card of 64 {}?", "GB", "MB"),
    ("Is it safe to store the vaccine at 8 degrees {}?", "Celsius", "Fahrenheit"),
    ("What is the fare for a ride of 12 {} at night?", "km", "miles"),
    ("How loud is a compressor of 3 {} at one metre?", "kW", "hp"),
    ("How is a deposit of 500 {} paid back to the customer?", "euros", "dollars"),
    ("How much water flows through the pipe in litres per {}?", "second", "minute"),
    ("What is the fee when the rental is late by two {}?", "hours", "days"),
    ("Can the bridge carry a lorry of 18 {} in winter?", "tonnes", "pounds"),
    ("Which lens do I need for an object of 5 {} in diameter?", "mm", "cm"),
    ("How much memory do I need for a model of 7 {} of weights?", "GiB", "TiB"),
)
_OPPOSITES = (
    ("How can the committee {} the number of members next year?", "increase", "decrease"),
    ("What must be signed {} the apartment is handed over?", "before", "after"),
    ("How do I {} automatic updates on the office computers?", "enable", "disable"),
    ("Which factors {} the risk of a heart attack in men?", "increase", "reduce"),
    ("What is the {} number of participants for the course?", "minimum", "maximum"),
    ("Which of the candidates {} the proposal of the council?", "supported", "opposed"),
    ("When does the {} flight to Istanbul leave on weekdays?", "first", "last"),
    ("How do I {} a colleague to the shared calendar?", "add", "remove"),
    ("Why did the share price {} after the announcement?", "rise", "fall"),
    ("What happens to the valve when the pressure is too {}?", "high", "low"),
    ("How do you {} the connection between both routers?", "establish", "terminate"),
    ("Which goods are {} from customs duty in this zone?", "exempt", "not exempt"),
    ("Which colour do the lights show when the tank is {}?", "full", "empty"),
    ("What should the nurse do if the fever {} overnight?", "rises", "drops"),
    ("How do I {} the archive on the command line?", "compress", "extract"),
    ("Who may {} an application for the research grant?", "submit", "withdraw"),
    ("What is the {} temperature ever measured at the station?", "highest", "lowest"),
    ("When should a gardener {} the roses in autumn?", "cover", "uncover"),
    ("What is the procedure when an employee is {}?", "hired", "fired"),
    ("How does the program {} a large text file?", "encode", "decode"),
)
_KINDS = (
    ("{} was the old lighthouse on the island repaired?", "When", "Why"),
    ("{} are the samples transported to the central laboratory?", "How", "Why"),
    ("{} will the new swimming pool be built by the city?", "Where", "When"),
    ("{} did the auditors inspect in the warehouse?", "Who", "What"),
    ("{} do the volunteers meet before the festival begins?", "Where", "When"),
    ("How {} does the ferry to the island take in winter?", "long", "much"),
    ("{} the committee publish the final report on the accident?", "Did", "Will"),
    ("How {} visitors did the exhibition have?", "many", "few"),
    ("{} I report the theft of a company phone to the police?", "Should", "Can"),
    ("{} the factory produce its own electricity?", "Does", "Did"),
)

# More words that stay the same: the two look even more alike.
_AROUND = (
    "According to the annual report of the Harbour Trust that was presented to the public meeting, {}",
    "I am preparing a talk for new colleagues about our internal regulations and would like to know: {}",
    "In the chapter on everyday operation of the technical handbook for the regional branches, {}",
)


def made() -> list[tuple[str, str, str]]:
    numbers = cycle(_NUMBERS)
    found = [
        ("number", text.format(one), text.format(other))
        for text in _NUMBERED
        for one, other in (next(numbers), next(numbers), next(numbers))
    ]
    found += [("negation", text.format(one), text.format(other)) for text, one, other in _NEGATED]
    found += [("order", text.format(one, other), text.format(other, one)) for text, one, other in _SWAPPED]
    found += [("entity", text.format(a), text.format(b)) for text, *twos in _ENTITIES for a, b in twos]
    triples = chain(((text, a, b, "unit") for text, a, b in _UNITS), ((t, a, b, "opposite") for t, a, b in _OPPOSITES))
    found += [(kind, text.format(one), text.format(other)) for text, one, other, kind in triples]
    found += [("kind", text.format(one), text.format(other)) for text, one, other in _KINDS]
    spaced = [(kind, " ".join(first.split()), " ".join(second.split())) for kind, first, second in found]
    around = cycle(_AROUND)
    longer = [
        (kind, within.format(_later(one)), within.format(_later(other)))
        for (kind, one, other), within in zip(spaced, around, strict=False)
    ]
    return [*spaced, *longer]


def _later(question: str) -> str:
    return question[0].lower() + question[1:]
