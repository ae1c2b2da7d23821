"""Checks that the lab's NATs behave as their names say: mapping and filtering as RFC 4787 names them, and loss of
mappings."""

import socket

from network import PROBE, SERVER, Network

MAPPING_PORTS = (7001, 7002)
EXPECTED = {
    # kind: (one mapping for all destinations, lets in another address, lets in another port of a known address)
    "none": (True, True, True),
    "full-cone": (True, True, True),
    "address-restricted": (True, False, True),
    "port-restricted": (True, False, False),
    "symmetric": (False, False, False),
}


class Probe:
    def __init__(self, network, site):
        self.site = site
        self.servers = {
            (address, port): network.server.inside(lambda a=address, p=port: _bound(a, p))
            for address in (SERVER, PROBE) for port in MAPPING_PORTS
        }
        self.client = site.peer.inside(lambda: _bound("0.0.0.0", 0))

    def mapping(self, address, port):
        """The client's address as a server sees it: (address, port), or None when nothing arrives."""
        self.client.sendto(b"map", (address, port))
        try:
            return self.servers[address, port].recvfrom(100)[1]
        except TimeoutError:
            return None

    def lets_in(self, address, port, mapped):
        self.servers[address, port].sendto(f"{address}:{port}".encode(), mapped)
        try:
            return self.client.recv(100) == f"{address}:{port}".encode()
        except TimeoutError:
            return False

    def close(self):
        self.client.close()
        for server in self.servers.values():
            server.close()


def _bound(address, port):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(0.25)
    made.bind((address, port))
    return made


def check_kind(network, site):
    """Sentences about deviations from the names."""
    wrong = []
    probe = Probe(network, site)
    try:
        first = probe.mapping(SERVER, 7001)
        if first is None:
            return [f"{site.kind}: nothing comes through"]
        if site.kind != "none" and first[0] != site.public:
            wrong.append(f"{site.kind}: is seen as {first[0]}, not as {site.public}")
        # Before anything was sent to the others.
        other_address = probe.lets_in(PROBE, 7001, first)
        other_port = probe.lets_in(SERVER, 7002, first)
        if not probe.lets_in(SERVER, 7001, first):
            wrong.append(f"{site.kind}: an answer does not come back")
        unmapped = probe.lets_in(SERVER, 7001, (site.public, 1 + first[1] % 60000))
        same = first == probe.mapping(PROBE, 7001) == probe.mapping(SERVER, 7002)
        for what, found, wanted in zip(
            ("one mapping for all", "lets in another address", "lets in another port"),
            (same, other_address, other_port), EXPECTED[site.kind],
        ):
            if found != wanted:
                wrong.append(f"{site.kind}: {what} is {found}, should be {wanted}")
        if unmapped:
            wrong.append(f"{site.kind}: lets in what has no mapping")
    finally:
        probe.close()
    return wrong


def check_outages(network, site):
    wrong = []
    probe = Probe(network, site)

    def expect(passes, what):
        if (probe.mapping(SERVER, 7001) is not None) != passes:
            wrong.append(f"{what}: packets {'do not pass' if passes else 'pass'}")

    try:
        expect(True, "before")
        site.drop_all()
        expect(False, "silent drop")
        site.stop_dropping()
        expect(True, "after the silent drop")
        site.drop_udp()
        expect(False, "UDP blocked")
        site.stop_dropping()
        site.drop_incoming()
        mapped = probe.mapping(SERVER, 7001)
        if mapped is None or probe.lets_in(SERVER, 7001, mapped):
            wrong.append("one-way drop: it is not one-way")
        site.stop_dropping()
        before = probe.mapping(SERVER, 7001)
        site.change_public_address()
        after = probe.mapping(SERVER, 7001)
        if after is None or after[0] == before[0] or after[0] != site.public:
            wrong.append(f"public address change: seen as {before} before and {after} after")
        site.change_lan_address()
        expect(True, "after a change of the LAN address")
        site.change_network()
        expect(True, "after a change of the network")
        site.forget_mappings()
        if after and probe.lets_in(SERVER, 7001, after):
            wrong.append("forgotten mappings: the old one still lets in")
        expect(True, "after mappings were forgotten")
    finally:
        probe.close()
    return wrong


def check_all():
    """Pairs of a check and the sentences about its failures."""
    results = []
    network = Network(list(EXPECTED))
    try:
        for site in network.sites:
            results.append((f"NAT {site.kind}", check_kind(network, site)))
        results.append(("outages of a router", check_outages(network, network.sites[3])))
    finally:
        network.remove()
    return results
