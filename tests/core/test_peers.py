"""Peers: which entries say where a node is, and which of those may be called."""

from ipaddress import ip_network

import pytest

from pivot.config import NODE_NETWORKS, Config
from pivot.core.peers import peer_address
from pivot.errors import ConfigError

NETWORKS = tuple(map(ip_network, NODE_NETWORKS))


@pytest.mark.parametrize(
    ("data", "address"),
    [
        ('{"ip": "10.0.0.7", "port": 80}', "http://10.0.0.7:80"),
        ('{"IP": "127.0.0.1", "Port": "8080", "name": "door"}', "http://127.0.0.1:8080"),
        ('{"ip": "fd00::1", "port": 65535}', "http://[fd00::1]:65535"),
        ('{"ip": "::1", "port": 1}', "http://[::1]:1"),
    ],
)
def test_an_entry_with_ip_and_port_is_a_node_in_every_spelling(data: str, address: str) -> None:
    assert peer_address(data, NETWORKS) == address


@pytest.mark.parametrize(
    "data",
    [
        "1", "[]", "null", "{}", '{"ip": "10.0.0.7"}', '{"ip": "10.0.0.7", "port": 0}', '{"port": 80}',
        '{"ip": "10.0.0.7", "port": ""}', '{"ip": "10.0.0.7", "port": "80a"}', '{"ip": "10.0.0.7", "port": true}',
        '{"ip": "10.0.0.7", "port": -1}', '{"ip": "10.0.0.7", "port": 65536}', '{"ip": "10.0.0.7", "port": "999999"}',
        '{"ip": 7, "port": 80}', '{"ip": "10.0.0.7", "port": 80.5}',
    ],
)  # fmt: skip
def test_an_entry_without_them_is_plain_data(data: str) -> None:
    assert peer_address(data, NETWORKS) is None


@pytest.mark.parametrize(
    "ip",
    ["8.8.8.8", "169.254.169.254", "localhost", "example.org", "::ffff:8.8.8.8", "fe80::1%eth0", "fd00::1%1", "10.1"],
)
def test_a_node_outside_the_networks_is_never_called(ip: str) -> None:
    assert peer_address(f'{{"ip": "{ip}", "port": 80}}', NETWORKS) is None


def test_networks_can_be_configured() -> None:
    assert peer_address('{"ip": "8.8.8.8", "port": 80}', (ip_network("8.8.0.0/16"),)) == "http://8.8.8.8:80"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"node_networks has '10\.0\.0\.1/8', which is no network"):
        Config(node_networks=("10.0.0.1/8",))
