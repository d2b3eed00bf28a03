"""Events between two people: who did what to whom, in many wordings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusion_pipeline.tasks.embedded.draw import Draw, within
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence


@dataclass(frozen=True, kw_only=True)
class Act:
    """One act: the wordings of 'a did it to b', and the participles for 'b was ... by a'."""

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
    _act("complimented|spoke highly of", "complimented"),
    _act("warned|alerted", "warned|alerted"),
    _act("blamed|put the blame on", "blamed"),
    _act("mocked|made fun of", "mocked|made fun of"),
    _act("deceived|fooled|tricked", "deceived|fooled|tricked"),
    _act("selected|chose|picked", "selected|chosen|picked"),
    _act("criticised|found fault with", "criticised"),
    _act("forgave|pardoned", "forgiven|pardoned"),
    _act("visited|paid a visit to", "visited"),
    _act("followed|went after", "followed"),
    _act("watched|kept an eye on|observed", "watched|observed"),
    _act("sued|took legal action against", "sued"),
    _act("answered|replied to", "answered"),
    _act("defended|stood up for", "defended"),
    _act("ignored|took no notice of", "ignored"),
    _act("angered|annoyed|irritated", "angered|annoyed|irritated"),
)
OCCASIONS: tuple[str, ...] = tuple(
    f"{word} {name}"
    for word, names in (
        ("on", "Monday Tuesday Wednesday Friday Sunday"),
        ("in", "March April June July August"),
    )
    for name in names.split()
)

# What makes two reports differ, each as often as it is listed.
CHANGES = (*["roles"] * 2, *["act"] * 5, *["patient"] * 6, *["occasion"] * 7)


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
        return sentence(f"{core} {self.occasion}" if draw.chance(0.5) else f"{self.occasion}, {core}")

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
    """An event that differs in one thing: the act, the occasion, who it happened to, or (hardest) the roles."""
    match draw.pick(CHANGES):
        case "roles":
            return event.mirrored()
        case "occasion":
            return replace(event, occasion=draw.pick([o for o in OCCASIONS if o != event.occasion]))
        case "act":
            others = [replace(event, act=act) for act in ACTS if act is not event.act]
        case _:
            others = [replace(event, patient=p) for p in PEOPLE if p not in (event.agent, event.patient)]
    return draw.pick(within(split, others) or [event.mirrored()])
