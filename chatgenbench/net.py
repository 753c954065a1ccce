"""Which addresses of the internet may be connected to.  The address that is checked is the one that is connected to."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import chatgenbench

USER_AGENT = f"chatgenbench/{chatgenbench.__version__} (+https://arxiv.org/abs/2411.17176)"

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when it is wrapped in an IPv6 one."""
    try:
        ip: Address = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
