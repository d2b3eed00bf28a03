"""Things people do something with: each kind has a broader word, members, and verbs that fit (past, base form)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A broader word ('a bird'), narrower ones ('an owl') and the verbs that take them."""

    broad: str
    narrow: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]


_BASE = {
    "bought": "buy", "ate": "eat", "drove": "drive", "saw": "see", "fed": "feed", "drew": "draw",
    "lost": "lose", "wore": "wear", "sold": "sell", "found": "find", "made": "make", "tried": "try",
    "brought": "bring", "chose": "choose", "sent": "send", "kept": "keep", "grew": "grow",
    "ordered": "order", "cooked": "cook", "washed": "wash", "played": "play", "borrowed": "borrow",
    "tuned": "tune", "rented": "rent", "repaired": "repair", "cleaned": "clean", "photographed": "photograph",
    "used": "use", "painted": "paint", "moved": "move", "planted": "plant", "watered": "water",
    "praised": "praise", "noticed": "notice", "boarded": "board",
}  # fmt: skip


def _kind(broad: str, narrow: str, verbs: str) -> Kind:
    return Kind(
        broad=broad,
        narrow=tuple(word.strip() for word in narrow.split(",")),
        verbs=tuple((past, _BASE[past]) for past in verbs.split()),
    )


KINDS: tuple[Kind, ...] = (
    _kind("fish", "trout, salmon, tuna, cod, herring", "ordered cooked bought ate"),
    _kind("fruit", "an apple, a pear, a plum, a peach, a mango", "ate bought brought washed"),
    _kind("an instrument", "a violin, a guitar, a flute, a trumpet, a cello", "played bought borrowed tuned"),
    _kind("a vehicle", "a car, a van, a truck, a bus, a taxi", "rented drove repaired cleaned"),
    _kind("a bird", "a parrot, a pigeon, a sparrow, an owl, a hawk", "saw fed drew photographed"),
    _kind("a dog", "a terrier, a poodle, a spaniel, a beagle, a collie", "washed fed found photographed"),
    _kind("a tool", "a hammer, a saw, a drill, a wrench, a chisel", "borrowed bought used lost"),
    _kind("a garment", "a coat, a shirt, a skirt, a sweater, a jacket", "wore washed sold chose"),
    _kind("furniture", "a chair, a table, a sofa, a desk, a wardrobe", "painted moved sold chose"),
    _kind("a flower", "a rose, a tulip, a lily, a daisy, an orchid", "planted sent watered drew"),
    _kind("a tree", "an oak, a pine, a birch, a maple, a willow", "planted drew noticed watered"),
    _kind("a drink", "coffee, tea, lemonade, cider, cocoa", "ordered tried made brought"),
    _kind("a vegetable", "a carrot, an onion, a cabbage, a leek, a turnip", "grew cooked washed brought"),
    _kind("jewellery", "a ring, a necklace, a bracelet, a brooch, an earring", "wore lost sold found"),
    _kind("a dessert", "a tart, a sorbet, a trifle, a brownie, a custard", "ordered tried made praised"),
    _kind("a boat", "a canoe, a ferry, a kayak, a yacht, a dinghy", "boarded rented repaired saw"),
)
