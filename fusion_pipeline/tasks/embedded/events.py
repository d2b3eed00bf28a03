"""Events between one person and several: who did what to whom, in many wordings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusion_pipeline.tasks.embedded.draw import Draw, within
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence


@dataclass(frozen=True, kw_only=True)
class Act:
    """One act: the participles for 'a has ... b', and those for 'b has been ... by a'."""

    name: str
    actives: tuple[str, ...]
    passives: tuple[str, ...]


def _act(actives: str, passives: str) -> Act:
    words, participles = tuple(actives.split("|")), tuple(passives.split("|"))
    return Act(name=words[0], actives=words, passives=participles)


ACTS: tuple[Act, ...] = (
    _act("thanked|expressed gratitude to", "thanked"),
    _act("helped|assisted|given a hand to", "helped|assisted"),
    _act("phoned|called|rung up", "phoned|called"),
    _act("complimented|said nice things about", "complimented"),
    _act("warned|alerted", "warned|alerted"),
    _act("blamed|put the blame on", "blamed"),
    _act("rescued|saved", "rescued|saved"),
    _act("mocked|made fun of", "mocked|made fun of"),
    _act("deceived|fooled|tricked", "deceived|fooled|tricked"),
    _act("selected|chosen|picked", "selected|chosen|picked"),
    _act("criticised|found fault with", "criticised"),
    _act("forgiven|pardoned", "forgiven|pardoned"),
    _act("visited|paid a visit to", "visited"),
    _act("followed|gone after", "followed"),
    _act("watched|kept an eye on|observed", "watched|observed"),
    _act("sued|taken legal action against", "sued"),
    _act("answered|replied to", "answered"),
    _act("defended|stood up for", "defended"),
    _act("ignored|taken no notice of", "ignored"),
    _act("contacted|got in touch with", "contacted"),
    _act("informed|notified", "informed|notified"),
    _act("angered|annoyed|irritated", "angered|annoyed|irritated"),
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
        subject, other = (self.patient, self.agent) if passive else (self.agent, self.patient)
        have = "have" if subject.endswith("s") else "has"
        if passive:
            core = f"the {subject} {have} been {draw.pick(self.act.passives)} by the {other}"
        else:
            core = f"the {subject} {have} {draw.pick(self.act.actives)} the {other}"
        return sentence(f"{core} {self.occasion}" if draw.chance(0.5) else f"{self.occasion} {core}")

    def mirrored(self) -> Event:
        """The same act the other way round."""
        return replace(self, agent=self.patient, patient=self.agent)


def draw_event(draw: Draw, split: str) -> Event:
    """An event whose content belongs to this split."""
    return draw.content(split, lambda: _any_event(draw))


def _any_event(draw: Draw) -> Event:
    agent, patient = draw.two(PEOPLE)
    agent, patient = draw.pick(((agent + "s", patient), (agent, patient + "s")))
    return Event(agent=agent, patient=patient, act=draw.pick(ACTS), occasion=draw.pick(OCCASIONS))


def changed(event: Event, draw: Draw, split: str) -> Event:
    """A different event about the same two: often roles swapped, else another act or occasion."""
    if draw.chance(0.5):
        return event.mirrored()
    others = within(split, (replace(event, act=act) for act in ACTS if act is not event.act))
    if others and draw.chance(0.5):
        return draw.pick(others)
    return replace(event, occasion=draw.pick([o for o in OCCASIONS if o != event.occasion]))
