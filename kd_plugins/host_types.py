"""Types for objects of the hosts, which have none of their own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

if TYPE_CHECKING:

    class HostModule(nn.Module):
        """A module of the hosts: it has attributes that torch does not know of."""

        def __getattr__(self, name: str) -> Any: ...

else:
    HostModule = nn.Module


class DataSample(Protocol):
    """A data sample of the hosts: what is known of one image, and its annotations."""

    metainfo: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any: ...

    def __contains__(self, name: str) -> bool: ...


class HostDataset(Protocol):
    """A data set of the hosts, or one that wraps others."""

    def __getattr__(self, name: str) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


Samples = Sequence[DataSample]
