"""Question-answer pairs derived from captions by templates, as MSRVTT-QA's were from MSR-VTT's.

A caption is split into lower-case words and matched against small word lists
and a few shapes ("SUBJECT is VERBing", "COLOR THING", "NUMBER THINGS"); what
fits no template gives no pair, so precision beats recall.  Every answer is a
word of the caption, except "no", which asks for a thing that no caption of the
picture names.  A picture has one color, count or animal to ask for: the one
that most captions name, or none where they disagree evenly.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

PEOPLE = frozenset(
    (
        "man woman boy girl child person guy lady baby toddler kid player skateboarder surfer skier snowboarder cyclist biker "
        "rider climber runner swimmer dancer singer chef cook worker teacher student couple"
    ).split()
)
CROWDS = {"men": "man", "women": "woman", "boys": "boy", "girls": "girl", "children": "child", "people": "people", "kids": "kid"}
ANIMALS = frozenset(
    ("dog cat horse bird cow sheep elephant giraffe zebra bear duck goat lion tiger monkey rabbit puppy kitten fish cheetah pig squirrel").split()
)
COLORS = frozenset(("red blue green yellow black white brown orange pink purple gray grey").split())
NUMBERS = {"two": "two", "three": "three", "four": "four", "five": "five", "six": "six", "2": "two", "3": "three", "4": "four"}
PLACES = frozenset(
    (
        "water snow grass beach street field park road pool ocean sand kitchen room river lake mountain forest woods city bed "
        "table couch sidewalk bench stage court track sky hill rock rocks boat air office bathroom train station stairs backyard "
        "yard playground gym restaurant store dirt mud sea woods trail bridge"
    ).split()
)
NOT_VERBS = frozenset(  # nouns in -ing, and verbs that say nothing alone
    (
        "something nothing everything anything morning evening during king ring building ceiling string spring wing swing thing railing "
        "clothing being going getting taking trying using attempting having setting doing beginning starting preparing looking"
    ).split()
)
SAME = {"guy": "man", "lady": "woman", "kid": "child", "puppy": "dog", "kitten": "cat", "laying": "lying", "grey": "gray", "woods": "forest"}
TRANSITIVE = frozenset(
    (
        "holding riding playing carrying eating throwing catching kicking driving cutting drinking pulling pushing chasing making "
        "cooking painting climbing reading hitting flying feeding preparing swinging"
    ).split()
)
ARTICLES = frozenset(("a an the his her their its some this that").split())
STOPS = frozenset(
    (
        "in on at with of to for from by and while as through over under near into onto down up off along across around behind "
        "beside next is are was that which who during after before against between out . , ; ! ? out outside inside above toward "
        "towards together"
    ).split()
)
VERBS = frozenset(  # as "wearing blue jumps", "a black shirt feeds ice cream": they end a noun phrase
    (
        "plays jumps runs stands sits lays lies walks rides holds swings climbs leaps looks catches throws chases carries swims watches "
        "smiles poses takes feeds eats drinks pulls pushes makes gets goes tries wears does has kicks hits flies rests hangs leans slides "
        "skis surfs reaches waits crosses enjoys performs dances talks speaks balances wades splashes bends stand sit lay lie walk ride "
        "hold play jump run look watch pose take have fly rest wait"
    ).split()
)
NO_THINGS = frozenset(
    ("hair haired day night light picture photo photograph image scene background side top front other others one ones group pair").split()
)
SINGLE_TRUTH = ("color", "count", "animal")
GARMENTS = frozenset(
    ("shirt hat jacket dress coat shorts pants jeans helmet suit sweater hoodie vest cap uniform sunglasses glasses swimsuit costume tie").split()
)


@dataclass(frozen=True)
class QuestionAnswer:
    """One derived pair; `caption` is the sentence it came from."""

    question: str
    answer: str
    kind: str  # doing, who, what, where, wearing, color, count, animal, yes/no
    caption: str


def words_of(caption: str) -> list[str]:
    return re.findall(r"[a-z0-9'-]+|[.,;!?]", caption.lower())


def derive(captions: Sequence[str]) -> list[QuestionAnswer]:
    """All pairs of one picture or clip, in caption order, the same question asked at most once per answer."""
    found: dict[tuple[str, str], QuestionAnswer] = {}
    named: dict[str, Counter[str]] = defaultdict(Counter)
    for caption in captions:
        for pair in _from_caption(caption):
            pair = replace(pair, answer=SAME.get(pair.answer, pair.answer))
            found.setdefault((pair.question, pair.answer), pair)
            named[pair.question][pair.answer] += 1
    return [pair for pair in found.values() if pair.kind not in SINGLE_TRUTH or _stands_out(pair.answer, named[pair.question])]


def _stands_out(answer: str, named: Counter[str]) -> bool:
    return all(named[answer] > count for other, count in named.items() if other != answer)


def _from_caption(caption: str) -> Iterable[QuestionAnswer]:
    words = words_of(caption)
    for i, word in enumerate(words):
        rest = words[i + 1 :]
        subject = CROWDS.get(word, word)
        if (word in PEOPLE or word in ANIMALS or word in CROWDS) and _is_subject(words, i):
            yield from _of_subject(words, word, subject, rest, caption)
        if word in COLORS and words[max(i - 1, 0)] != "and" and (thing := _thing([word, *rest])) and thing not in PEOPLE | CROWDS.keys():
            be = "are" if thing.endswith("s") and not thing.endswith("ss") else "is"
            yield QuestionAnswer(f"what color {be} the {thing}?", word, "color", caption)
        if word in NUMBERS and rest:
            thing = next((w for w in rest[:3] if w.endswith("s") or w in CROWDS), None)
            if thing and not thing.endswith("ss") and thing not in VERBS | NO_THINGS and not {"other", "more"} & set(rest[:3]):
                yield QuestionAnswer(f"how many {thing} are there?", NUMBERS[word], "count", caption)
        singular = word if word in ANIMALS else word.removesuffix("s")
        if singular in ANIMALS and words[max(i - 1, 0)] not in ("teddy", "hot", "stuffed", "toy"):
            yield QuestionAnswer("what animal is it?", singular, "animal", caption)


def _of_subject(words: list[str], word: str, subject: str, rest: list[str], caption: str) -> Iterable[QuestionAnswer]:
    be = "are" if word in CROWDS else "is"
    verb, after = _verb(rest)
    thing = _thing(after) if verb in TRANSITIVE or verb == "wearing" else None
    if verb == "wearing" and thing in GARMENTS:
        yield QuestionAnswer(f"what {be} the {word} wearing?", thing, "wearing", caption)
    elif verb and verb != "wearing":
        yield QuestionAnswer(f"what {be} the {word} doing?", verb, "doing", caption)
        article = "the " if after and after[0] in ARTICLES else ""
        yield QuestionAnswer(f"who is {verb}{' ' + article + thing if thing else ''}?", subject, "who", caption)
        if thing:
            yield QuestionAnswer(f"what {be} the {word} {verb}?", thing, "what", caption)
    for j, preposition in enumerate(rest[:-1]):
        if preposition in (".", "and") or preposition in PEOPLE | CROWDS.keys():
            break
        if preposition in ("in", "on", "at", "through", "into", "down", "across"):
            place = _thing(rest[j + 1 :])
            if place in PLACES:
                yield QuestionAnswer(f"where {be} the {word}?", place, "where", caption)
                break


def _is_subject(words: Sequence[str], i: int) -> bool:
    """Not the "baby" of "baby swing": what follows a subject is a verb, a preposition or nothing."""
    follower = words[i + 1] if i + 1 < len(words) else "."
    return follower in STOPS | VERBS or (follower.endswith("ing") and follower not in NOT_VERBS) or words[i] in CROWDS


def _verb(rest: list[str]) -> tuple[str | None, list[str]]:
    """The -ing word right behind the subject, with or without "is", and what follows it."""
    for skip in range(min(2, len(rest))):
        word = rest[skip]
        if word.endswith("ing") and len(word) > 4 and word not in NOT_VERBS:
            return word, rest[skip + 1 :]
        if word not in ("is", "are", "was", "were"):
            break
    return None, []


def _thing(after: list[str]) -> str | None:
    """The last word of the noun phrase that `after` begins with."""
    phrase: list[str] = []
    for word in after:
        if word in STOPS | VERBS or word.endswith("ing"):
            break
        phrase.append(word)
    if not 1 <= len(phrase) <= 5 or (phrase[0] not in ARTICLES | COLORS | NUMBERS.keys() and len(phrase) > 1):
        return None
    return phrase[-1] if _is_thing(phrase[-1]) else None


def _is_thing(word: str) -> bool:
    return word.isalpha() and len(word) > 2 and word not in STOPS | ARTICLES | COLORS | VERBS | NO_THINGS and not word.endswith("ing")


def yes_no(captions_by_item: Sequence[Sequence[str]], seed: int) -> list[list[QuestionAnswer]]:
    """For each picture one thing that a caption names (yes) and one that none names (no)."""
    rng = random.Random(seed)
    named = [
        sorted({CROWDS.get(w, w) for c in captions for w in words_of(c)} & (PEOPLE | ANIMALS | PLACES | GARMENTS)) for captions in captions_by_item
    ]
    common = [thing for thing, count in Counter(t for things in named for t in things).items() if count >= 3]
    result = []
    for captions, things in zip(captions_by_item, named, strict=True):
        absent = sorted(set(common) - set(things))
        pairs = []
        if things and absent:
            for thing, answer in ((rng.choice(things), "yes"), (rng.choice(absent), "no")):
                pairs.append(QuestionAnswer(f"is there a {thing}?", answer, "yes/no", captions[0]))
        result.append(pairs)
    return result
