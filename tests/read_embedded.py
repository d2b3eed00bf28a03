"""Reads sentences of the embedded corpus back, from the sentence alone, to check what the grammar says of them."""

import re
from functools import cache

from fusion_pipeline.tasks.embedded.events import ACTS, OCCASIONS
from fusion_pipeline.tasks.embedded.facts import WORDINGS
from fusion_pipeline.tasks.embedded.meaning import Statement, relation
from fusion_pipeline.tasks.embedded.opinions import BAD, GOOD
from fusion_pipeline.tasks.embedded.things import KINDS
from fusion_pipeline.tasks.embedded.topic import TOPICS

ACTIVITY_VERBS = "|".join(verb for verbs, _ in TOPICS.values() for verb in verbs)
ACTIVITY_NOUNS = "|".join(noun for _, nouns in TOPICS.values() for noun in nouns)
SLOTS = {"p": r"(?P<person>\w+?)", "past": r"(?P<past>\w+)", "base": r"(?P<base>\w+)", "x": "(?P<thing>.+)"}
FACTS = [
    (q, re.compile(w.format(**SLOTS), re.IGNORECASE)) for q, wordings in WORDINGS.items() for w in wordings
]
THINGS = {thing: kind for kind in KINDS for thing in (kind.broad, *kind.narrow)}
PASTS = {verb: past for kind in KINDS for past, base in kind.verbs for verb in (past, base)}
PASSIVES = {phrase: act.name for act in ACTS for phrase in act.passives}
ACTIVES = {phrase: act.name for act in ACTS for phrase in act.actives}
OCCASION = re.compile(
    rf"^(?P<front>{'|'.join(OCCASIONS)}), | (?P<back>{'|'.join(OCCASIONS)})\.$", re.IGNORECASE
)


INPUTS = ("text", "text_pair", "context", "question", "choices", "tokens")


def texts_of(row):
    """What a row of any type says, a text each; words that were cut apart are joined again."""
    found = []
    for key in INPUTS:
        value = row.get(key) or []
        joined = [re.sub(r" ([,.])", r"\1", " ".join(value))] if key == "tokens" and value else value
        found += [joined] if isinstance(joined, str) else joined
    return found


def sentences_of(row):
    return [found for text in texts_of(row) for found in re.findall(r"[^.]+\.", text)]


@cache
def read_fact(sentence):
    """(quantifier, person, verb, thing) of a sentence about quantities, else None."""
    for quantifier, pattern in FACTS:
        if found := pattern.fullmatch(sentence.strip(" .")):
            slots = found.groupdict()
            verb = slots.get("past") or slots.get("base")
            if slots["thing"] in THINGS and verb in PASTS:
                return quantifier, slots["person"], PASTS[verb], slots["thing"]
    return None


@cache
def read_event(sentence):
    """(agent, patient, act, occasion) of a report, else None."""
    sentence = sentence.strip()
    if not (when := OCCASION.search(sentence)):
        return None
    occasion = (when["front"] or when["back"]).lower()
    core = OCCASION.sub("", sentence).rstrip(".")
    passive = re.fullmatch(r"the (\w+) was (.+) by the (\w+)", core, re.IGNORECASE)
    if passive and passive[2] in PASSIVES:
        return passive[3], passive[1], PASSIVES[passive[2]], occasion
    active = re.fullmatch(r"the (\w+) (.+) the (\w+)", core, re.IGNORECASE)
    return (active[1], active[3], ACTIVES[active[2]], occasion) if active and active[2] in ACTIVES else None


def read_verdict(text):
    """Whether a first sentence of one clause praises; None where it has more clauses than this rule reads."""
    first = text.split(".")[0]
    words = re.findall(rf"\b(?:{'|'.join(GOOD + BAD)})\b", first)
    if len(words) != 1:
        return None
    denied = re.search(r"\b(not|never|far from|anything but|nobody|by no means)\b", first, re.IGNORECASE)
    return (words[0] in GOOD) != bool(denied)


def contents(sentence):
    """What a sentence says, read from the sentence alone: opinions, activities, facts, events."""
    words = "|".join(GOOD + BAD)
    for aspect, word in re.findall(rf"the (\w+) (?:\w+ ){{0,4}}?({words})\b", sentence, re.IGNORECASE):
        yield "opinion", aspect, word
    for verb, noun in re.findall(rf"({ACTIVITY_VERBS}) the ({ACTIVITY_NOUNS})", sentence):
        yield "activity", verb, noun
    if event := read_event(sentence):
        yield "event", frozenset(event[:2]), event[2]
    if fact := read_fact(sentence):
        yield "fact", fact[1], fact[2], THINGS[fact[3]].broad


def last_sentence(text):
    return re.findall(r"[^.]+\.", text)[-1]


def infer(row):
    premise, hypothesis = read_fact(last_sentence(row["text"])), read_fact(row["text_pair"])
    assert premise[1:3] == hypothesis[1:3]
    broad = THINGS[premise[3]].broad
    # Two narrow things that differ are siblings; which of them is called narrow does not matter.
    names = {premise[3]: "sibling", hypothesis[3]: "narrow", broad: "broad"}
    return relation(Statement(premise[0], names[premise[3]]), Statement(hypothesis[0], names[hypothesis[3]]))


DISMISSED = (
    rf"(?:instead of|not about|hardly with|minutes on|no time for|finished with|more than) "
    rf"(?:{ACTIVITY_VERBS}) the (?:{ACTIVITY_NOUNS})"
    rf"|(?:{ACTIVITY_VERBS}) the (?:{ACTIVITY_NOUNS}) mattered less"
)


def read_interests(text, *, dismissed=True):
    """The topics of the activities that a text names, without those it dismisses."""
    left = re.sub(DISMISSED, "", text, flags=re.IGNORECASE) if dismissed else text
    nouns = re.findall(rf"(?:{ACTIVITY_VERBS}) the ({ACTIVITY_NOUNS})", left, re.IGNORECASE)
    return {topic for topic, (_, known) in TOPICS.items() for noun in nouns if noun in known}
