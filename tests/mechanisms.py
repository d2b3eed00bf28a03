"""Every installed fusion with the variants worth telling apart, over adapters that say something."""

import tiny
import torch

from fusion_pipeline import registry
from fusion_pipeline.adapters import Bottleneck, LowRankBank
from fusion_pipeline.fusion.spec import Fusion
from fusion_pipeline.sites import SiteInput

D = 12
NAMES = ("a", "b", "c", "d", "e")
# Found by listing the folder: a new yaml is tested as it is; variants only add to it.
INSTALLED = registry.options("fusion")
VARIANTS = {
    "adapterfusion": [{"heads": 2}, {"heads": 4, "value": False, "temperature": 2.0}],
    "attention": [{"pool": "first"}, {"residual": True, "norm": True, "temperature": 0.5}],
    "weighted": [{"shared": True, "init": "normal"}, {"learnable": False, "init": "normal"}],
    "gating": [{"gate": "sigmoid", "activation": "tanh"}],
    "router": [{"k": 1}, {"per": "sequence"}, {"k": 1, "per": "sequence", "noise": 0.5}],
    "scalearn": [{"per": "layer"}, {"per": "shared_dimension"}, {"per": "shared"}],
    "hierarchical": [
        {"inner": "linear", "outer": "router", "groups": {"g1": ["c", "a", "e"], "g.2": ["b", "d"]}},
        {"inner": "weighted", "inner_options": {"shared": True}, "outer": "scalearn"},
        {"inner": "hierarchical", "outer": "attention", "groups": {"x": ["a", "b", "c", "d"], "y": ["e"]}},
    ],
}
ALL = [(name, values) for name in INSTALLED for values in ({}, *VARIANTS.get(name, []))]
IDS = ["-".join([name, *(f"{k}={v}".replace(" ", "") for k, v in values.items())]) for name, values in ALL]


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def adapters(names=NAMES, *, train=False):
    """Adapters of different widths, by name, always the same for a name."""
    made = {}
    for name in names:
        n = NAMES.index(name)
        spec = tiny.bottleneck(width=3 + n % 3, scaling=(1.0, 0.5)[n % 2])
        made[name] = tiny.shake(Bottleneck(spec, D, D), 0.4, seed=n).double().requires_grad_(train)
    return made


def bank(parts):
    return LowRankBank(list(parts), list(parts.values()))


def spec(name, **values):
    return registry.build("fusion", name, **values)


def fusion(name, values=(), names=NAMES, *, std=0.4, dim=D, seed=99):
    """A fusion whose parameters, also those that start at zero, all say something; std None: as it starts."""
    torch.manual_seed(3)
    module = spec(name, **dict(values)).build(dim, dim, names).double().eval()
    return module if std is None else tiny.shake(module, std, seed=seed)


def learning(module):
    """The same fusion, with gradients as it decides itself."""
    for part in module.modules():
        if isinstance(part, Fusion):
            part.requires_grad_(True)
    return module


def site(x, mask=None):
    return SiteInput(x=x, sublayer=x, mask=mask)
