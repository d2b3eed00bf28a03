"""Events between two people: who did what to whom, in many wordings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusion_pipeline.tasks.embedded.draw import Draw, within
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence


@dataclass(frozen=True, kw_only=True)
class Act:
    """One act: every wording of 'a did it to b', and a second participle for the passive."""

    name: str
    actives: tuple[str, ...]
    passives: tuple[str, ...]


def _act(actives: str, passives: str) -> Act:
    words, participles = tuple(actives.split("|")), tuple(passives.split("|"))
    return Act(name=words[0], actives=words, passives=participles)


ACTS: tuple[Act, ...] = (
    _act("thanked|expressed gratitude to", "thanked"),
    _act("helped|assisted|gave a hand to", "helped|assisted"),
    _act("phoned|called|rang up", "phoned|called"),
    _act("hired|employed", "hired|employed"),
    _act("followed|went after|trailed", "followed|trailed"),
    _act("complimented|said nice things about", "complimented"),
    _act("warned|alerted", "warned|alerted"),
    _act("blamed|put the blame on", "blamed"),
    _act("rescued|saved", "rescued|saved"),
    _act("teased|made fun of|mocked", "teased|mocked"),
    _act("deceived|fooled|tricked", "deceived|fooled|tricked"),
    _act("hugged|embraced", "hugged|embraced"),
    _act("selected|chose|picked", "selected|chosen|picked"),
    _act("scolded|told off", "scolded|told off"),
    _act("photographed|took a picture of", "photographed"),
    _act("greeted|said hello to", "greeted"),
    _act("forgave|pardoned", "forgiven|pardoned"),
    _act("interrupted|cut short", "interrupted|cut short"),
    _act("visited|paid a visit to", "visited"),
    _act("paid|gave money to", "paid|given money"),
    _act("taught|gave lessons to", "taught|given lessons"),
    _act("watched|kept an eye on|observed", "watched|observed"),
)
OCCASIONS: tuple[str, ...] = tuple(
    f"{when} the {what}"
    for when in ("before", "after", "during")
    for what in "concert meeting dinner storm trip race".split()
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Who did what to whom, and when."""

    agent: str
    patient: str
    act: Act
    occasion: str

    @property
    def key(self) -> str:
        """The content whoever did it to whom: an event and its mirror image share a split."""
        return f"event|{'|'.join(sorted((self.agent, self.patient)))}|{self.act.name}"

    def say(self, draw: Draw, *, passive: bool) -> str:
        """A sentence that reports this event."""
        if passive:
            core = f"the {self.patient} was {draw.pick(self.act.passives)} by the {self.agent}"
        else:
            core = f"the {self.agent} {draw.pick(self.act.actives)} the {self.patient}"
        return sentence(f"{core} {self.occasion}" if draw.chance(0.5) else f"{self.occasion} {core}")

    def mirrored(self) -> Event:
        """The same act the other way round."""
        return replace(self, agent=self.patient, patient=self.agent)


def draw_event(draw: Draw, split: str) -> Event:
    """An event whose content belongs to this split."""
    return draw.content(split, lambda: _any_event(draw))


def _any_event(draw: Draw) -> Event:
    agent, patient = draw.two(PEOPLE)
    return Event(agent=agent, patient=patient, act=draw.pick(ACTS), occasion=draw.pick(OCCASIONS))


def changed(event: Event, draw: Draw, split: str) -> Event:
    """A different event about the same people: mostly roles swapped, else another act or occasion."""
    if draw.chance(0.6):
        return event.mirrored()
    others = within(split, (replace(event, act=act) for act in ACTS if act is not event.act))
    if others and draw.chance(0.5):
        return draw.pick(others)
    return replace(event, occasion=draw.pick([o for o in OCCASIONS if o != event.occasion]))
