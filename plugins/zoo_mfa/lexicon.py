"""The words that the chunker knows by heart: closed classes, and the commonest words of captions.

Chosen by reading captions of Flickr8k, Flickr30K and COCO; everything else is told by its ending,
or is a noun.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this that these those another other each every all both some any no several many "
    "few more most much my your his her its our their whose s"
)
NUMBERS = _words(
    "one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty fifty "
    "hundred thousand dozen"
)
PRONOUNS = _words(
    "i you he she it we they me him us them himself herself itself themselves someone somebody "
    "something everyone everybody everything anyone anybody anything nothing nobody hers theirs"
)
CONJUNCTIONS = _words("and or but nor & ,")
AUXILIARIES = _words(
    "is are was were be been being am has have had having do does did can could may might will "
    "would should 're 've 'll 'm"
)
PREPOSITIONS = _words(
    "in on of at with by from to into onto over under above below beneath underneath behind "
    "beside besides between among amongst amid near nearby next through throughout across along "
    "alongside around about against toward towards up down off out outside inside within without "
    "upon past beyond during after before for like than via atop aboard"
)
IDIOMS = frozenset((("in", "front"), ("on", "top"), ("in", "between"), ("close", "to")))
"""Pairs whose second word is a preposition after the first."""

OTHERS = _words(
    "who which what when where while whilst as because if so then there here not n't also very "
    "too just together almost even alone away apart forth ahead forward backwards overhead "
    "indoors outdoors mid only still once again how why"
)
"""Adverbs and words that begin a clause: they end a phrase and relate nothing."""

ADJECTIVES = _words(
    "black white red blue green yellow orange brown pink purple gray grey tan golden blond blonde "
    "silver dark bright colorful colored striped plaid big large small little tiny huge "
    "tall short long high low wide young old older younger elderly new wooden "
    "metal plastic concrete stone brick leather stainless wet dry hot cold warm clean dirty snowy "
    "sandy grassy rocky muddy empty full open busy crowded wooded bearded stuffed uniformed naked "
    "bare pretty beautiful happy sunny cloudy curly silly hilly friendly lovely asian different "
    "various multiple single same parked - \u2013"
)
"""With the hyphen, since BERT cuts "t-shirt" into three words."""

NOUNS = _words(
    "building ceiling clothing railing evening morning wedding string spring thing sibling "
    "duckling painting icing frosting lightning offspring awning siding fencing flooring bedding "
    "speed breed seaweed steed family butterfly jelly belly rally"
)
"""Nouns that end like verbs or adverbs."""

# A verb is one unless it stands where a noun does, so "back" is well placed here: "jumps back" but
# "on his back".
_VERBS = _words(
    "walk run play stand sit ride jump look hold watch wear carry throw catch climb pull push hit "
    "kick talk speak smile laugh pose perform lie lay lean rest sleep wait eat drive fly ski surf "
    "swim dive skate snowboard skateboard leap chase follow bite fetch dig drink cross pass reach "
    "read write sing dance cook cut prepare serve feed make take get give put use work enjoy try "
    "attempt appear seem show display feature contain include cover surround sell buy shop stare "
    "gaze peer glance point wave hang float sail row paddle race compete tackle dribble pitch "
    "swing slide grind balance flip spin roll crawl kneel squat bend stretch raise lift lead turn "
    "move travel come go stop approach enter leave fall splash spray blow hug kiss embrace pet "
    "touch grab share exchange listen shake wade wander gather crouch sniff lick wrestle fight "
    "practice attend celebrate fill line sweep wash brush fix build paint draw operate examine "
    "inspect view see help chew begin start open peek graze smoke hike relax retrieve participate "
    "return land back"
)
IRREGULAR_VERBS = _words(
    "sat stood held ran rode wore threw caught hung laid lit made seen shown taken thrown worn "
    "ridden driven eaten given drawn built found fell fallen flew shot set got went came spread "
    "tied used"
)


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


VERBS = _VERBS | {_third_person(verb) for verb in _VERBS} | IRREGULAR_VERBS
