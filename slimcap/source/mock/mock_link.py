"""`MockLink`: the interface that a mock simulates."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Literal

from slimcap.errors import LinkNotFound
from slimcap.packet.link import Link

if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface


class MockLink(Link):
    """Ethernet interface that does not exist: its state is the one that `set_link` of its mock has set.

    Parameters
    ----------
    name : str
        Name of the interface.

    Examples
    --------
    >>> from slimcap.mock import MockRingSource
    >>> with MockRingSource("eth9") as source:
    ...     source.set_link("down")
    ...     print(source.link.is_up, source.link.addresses)
    False ()
    """

    __slots__ = ("_state",)
    _state: str

    def __init__(self, name: str) -> None:
        super().__init__(name, 1, 1, 1)
        self.simulate("up")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and _described(self) == _described(other)

    __hash__ = Link.__hash__

    def simulate(self, state: Literal["up", "down", "gone"]) -> None:
        """Set the state.

        Parameters
        ----------
        state : {"up", "down", "gone"}
            As for `set_link` of the mocks.
        """
        object.__setattr__(self, "_state", state)

    @property
    def is_up(self) -> bool:
        """True if the simulated interface is up, as it is at first."""
        return self._checked() == "up"

    @property
    def is_vlan(self) -> bool:
        """False: no VLAN interface is simulated."""
        self._checked()
        return False

    @property
    def addresses(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """No addresses: an empty tuple."""
        self._checked()
        return ()

    def _checked(self) -> str:
        """Return the state; raise LinkNotFound if the interface was removed."""
        state: str = getattr(self, "_state", "up")  # an unpickled one is up
        if state == "gone":
            raise LinkNotFound(
                errno.ENODEV, f"the simulated interface {self.name!r} was removed with set_link()"
            )
        return state


def _described(link: Link) -> tuple[object, ...]:
    """Return the values that are compared."""
    return (link.name, link.index, link.type, link.arphrd, link.description, link.named)
