"""No alert is posted into our own network, however it is spelled."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hogsend.alerts.ssrf import Forbidden, IPAddress, Policy, Unresolved, is_public, resolve, verdict

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.0.10",
    "192.0.0.192",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "64:ff9b::101:101",
    "::ffff:0:1.1.1.1",
    "100::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:127.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:5ef5:79fb:0:59d:80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "ff02::1",
    "2001:db8::1",
]


async def somewhere(_host: str, _port: int) -> Sequence[IPAddress]:
    return [ip_address("1.1.1.1")]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_ours_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet_is(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_no_more_public_inside_an_ipv6_one(address: IPv4Address) -> None:
    mapped = ip_address(f"::ffff:{address}")
    six_to_four = ip_address((0x2002 << 112) | (int(address) << 80))
    assert is_public(mapped) == is_public(six_to_four) == is_public(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "https:///path",
        "//example.com/",
        "example.com",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        " https://example.com/",
        "https://example.com:99999/",
        "https://example.com:25/",
        "https://example.com:80/",
        "https://example.com/" + "a" * 2_000,
    ],
)
async def test_only_plain_https_urls_are_taken(text: str) -> None:
    with pytest.raises(Forbidden) as refused:
        await verdict(text, Policy(), resolve=somewhere)
    assert not text or text not in refused.value.reason


@pytest.mark.parametrize(
    "host",
    [
        "localhost.",
        "10.0.0.1.",
        "a b.com",
        "exam%70le.com",
        "a..b",
        ".example.com",
        "example.com.",
        "a_b.com%00",
    ],
)
async def test_a_host_has_one_spelling(host: str) -> None:
    """Nobody is asked: what the resolver would make of it differs from machine to machine."""

    async def unasked(_host: str, _port: int) -> Sequence[IPAddress]:
        raise AssertionError("asked")

    with pytest.raises(Forbidden):
        await verdict(f"https://{host}/", Policy(), resolve=unasked)


@pytest.mark.parametrize(
    "host", ["hooks.example.com", "HOOKS.Example.com", "münchen.de", "a_b.com", "xn--e1afmkfd.com"]
)
async def test_a_plain_name_is_taken(host: str) -> None:
    assert (await verdict(f"https://{host}/x", Policy(), resolve=somewhere)).addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "localhost"])
async def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="private network"):
        await verdict(f"http://{host}:8080/hook", Policy(allow_http=True))


async def test_one_private_address_among_public_ones_is_enough() -> None:
    async def both(_host: str, _port: int) -> Sequence[IPAddress]:
        return [ip_address("1.1.1.1"), ip_address("10.0.0.1")]

    with pytest.raises(Forbidden):
        await verdict("https://rebind.example/", Policy(), resolve=both)


async def test_development_may_post_to_itself() -> None:
    allowed = await verdict("http://127.0.0.1:8080/hook", Policy(allow_http=True, allow_private=True))
    assert allowed.addresses == [ip_address("127.0.0.1")]


async def test_a_name_that_leads_nowhere_is_told_apart() -> None:
    with pytest.raises(Unresolved):
        await resolve("a" * 64 + ".example", 443)
