"""A small internet in network namespaces: peers behind NATs, a room server, a TURN server, and one network between
them.

    p1 ─lan0─ n1 ─wan0─ [f1] ─┐
    p2 ─lan0─ n2 ─wan0────────┼─ net (a bridge) ─┬─ srv 203.0.113.2, .5
    …                         ┘                  └─ turn 203.0.113.3

`p` is a peer's machine, `n` the router with its NAT, `f` holds the forwarder where packets are to be delayed or lost.
Everything is made inside the mount and PID namespace that `run` opened: when that ends, nothing is left. No address is
routed outside.
"""

import ctypes
import json
import os
import socket
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
SERVER = "203.0.113.2"
PROBE = "203.0.113.5"
TURN = "203.0.113.3"
GATEWAY = "203.0.113.1"
PORT = 8080
NAT_KINDS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric")

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab itself does not work. The message is one sentence."""


def run(arguments, text=None):
    result = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=20)
    if result.returncode != 0:
        raise LabError(f"`{' '.join(arguments)}` failed: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


class Namespace:
    def __init__(self, name, has_ipv6=False):
        self.name = name
        run(["ip", "netns", "add", name])
        # IPv6 addresses are usable at once, since duplicates are impossible.
        setting = ("accept_dad", "0") if has_ipv6 else ("disable_ipv6", "1")
        for key in ("all", "default"):
            self.sysctl(f"ipv6/conf/{key}/{setting[0]}", setting[1], optional=True)
        self.ip("link set lo up")

    def ip(self, *lines):
        """Several `ip` commands in one process, so that they happen within a millisecond."""
        run(["ip", "-n", self.name, "-batch", "-"], "\n".join(lines) + "\n")

    def link_address(self, interface):
        return json.loads(run(["ip", "-n", self.name, "-json", "link", "show", "dev", interface]))[0]["address"]

    def wait_for_carrier(self, interface):
        for _ in range(250):
            links = json.loads(run(["ip", "-n", self.name, "-json", "link", "show", "dev", interface]))
            if links[0]["operstate"] == "UP":
                return
            time.sleep(0.02)
        raise LabError(f"{interface} of {self.name} has no carrier")

    def nft(self, text):
        run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], text)

    def inside(self, function):
        """Runs a function in a thread of this namespace; sockets made there stay there."""
        result = []

        def body():
            try:
                descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
                try:
                    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"setns to {self.name}")
                finally:
                    os.close(descriptor)
                result.append((function(), None))
            except BaseException as error:
                result.append((None, error))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def sysctl(self, name, value, optional=False):
        def write():
            with open(f"/proc/sys/net/{name}", "w") as file:
                file.write(value)

        try:
            self.inside(write)
        except FileNotFoundError:
            if not optional:
                raise

    def command(self, arguments):
        """`ip netns exec` becomes the command itself: its pid is the child's."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=20)


def nat_rules(kind):
    """The nftables rules of a NAT. All except `symmetric` keep one mapping per socket. None admits unsolicited
    packets."""
    if kind == "none":
        return ""
    masquerade = "masquerade fully-random" if kind == "symmetric" else "masquerade"
    let_in = {
        "full-cone": 'iifname "wan0" meta l4proto udp dnat to udp dport map @open',
        "address-restricted": 'iifname "wan0" ip saddr . udp dport @talked dnat to udp dport map @open',
    }.get(kind, "")
    return f"""
table ip nat {{
    map open {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout 5m; size 8192; }}
    set talked {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 5m; size 8192; }}
    chain prerouting {{ type nat hook prerouting priority dstnat; {let_in}
    }}
    chain postrouting {{ type nat hook postrouting priority srcnat; oifname "wan0" {masquerade}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        iifname "lan0" oifname "wan0" meta l4proto udp update @open {{ udp sport : ip saddr }}
        iifname "lan0" oifname "wan0" meta l4proto udp update @talked {{ ip daddr . udp sport }}
        iifname "lan0" accept
        ct state established,related accept
        ct status dnat accept
    }}
    chain input {{ type filter hook input priority filter; policy drop; iifname "lan0" accept
    }}
}}
"""


# Dropped packets never reach connection tracking, as if the cable had lost them.
OUTAGE_TABLE = """
table ip outage {
    chain in { type filter hook prerouting priority raw; policy accept; }
}
"""


class Site:
    """A peer's machine, its router and, on request, the forwarder in front of the router."""

    def __init__(self, network, index, kind, has_forwarder):
        prefix = network.prefix
        self._network = network
        self.index = index
        self.kind = kind
        self.lan_host = 2
        self.subnet = f"198.51.100.{8 * index}" if kind == "none" else f"192.168.{index}.0"
        self.subnet_bits = 29 if kind == "none" else 24
        self.public = f"203.0.113.{10 + index}"
        self.peer = network.namespace(f"{prefix}p{index}")
        self.router = network.namespace(f"{prefix}n{index}")
        self.filter = network.namespace(f"{prefix}f{index}") if has_forwarder else None
        self.forwarder = None
        run(["ip", "link", "add", "lan0", "netns", self.peer.name, "type", "veth", "peer", "name", "lan0",
             "netns", self.router.name])
        network.attach(self.router, "wan0", f"site{index}", self.filter)
        self.router.ip(
            f"addr add {self._address(1)} dev lan0", "link set lan0 up",
            f"addr add {self.public}/24 dev wan0", "link set wan0 up", f"route add default via {GATEWAY} dev wan0",
        )
        self.router.sysctl("ipv4/ip_forward", "1")
        self.router.nft(nat_rules(kind) + OUTAGE_TABLE)
        self.peer.ip(f"addr add {self._address(2)} dev lan0", "link set lan0 up", self._default_route())

    def _address(self, host, bits=True):
        address = self.subnet.rsplit(".", 1)
        text = f"{address[0]}.{int(address[1]) + host}"
        return f"{text}/{self.subnet_bits}" if bits else text

    def _default_route(self):
        return f"route add default via {self._address(1, bits=False)} dev lan0"

    # Outages

    def link_down(self):
        self.peer.ip("link set lan0 down")

    def link_up(self):
        self.peer.ip("link set lan0 up", self._default_route())

    def drop(self, *rules):
        """Drops packets that enter the router and match `rules` (nft matches)."""
        self.router.nft("".join(f"add rule ip outage in {rule} drop\n" for rule in rules))

    def drop_all(self):
        self.drop('iifname "lan0"', 'iifname "wan0"')

    def drop_outgoing(self):
        self.drop('iifname "lan0"')

    def drop_incoming(self):
        self.drop('iifname "wan0"')

    def drop_udp(self):
        self.drop("meta l4proto udp")

    def drop_server(self):
        self.drop(f"ip saddr {SERVER}", f"ip daddr {SERVER}")

    def stop_dropping(self):
        self.router.nft("flush chain ip outage in")

    def change_lan_address(self):
        """Replaces the address by another one of the same network, as a new DHCP lease does."""
        self.lan_host += 1
        self.peer.ip("addr flush dev lan0", f"addr add {self._address(self.lan_host)} dev lan0", self._default_route())

    def change_network(self):
        """Changes to another subnet and gateway, as between two wireless networks."""
        self.subnet = f"10.{self.index}.{self.lan_host}.0"
        self.lan_host += 1
        self.router.ip("addr flush dev lan0", f"addr add {self._address(1)} dev lan0")
        self.peer.ip("addr flush dev lan0", f"addr add {self._address(self.lan_host)} dev lan0", self._default_route())

    def change_public_address(self):
        """The provider gives the router another address; masquerading forgets its mappings with the old one."""
        old = self.public
        self.public = f"203.0.113.{int(old.rsplit('.', 1)[1]) + 100}"
        self.router.ip(f"addr del {old}/24 dev wan0", f"addr add {self.public}/24 dev wan0",
                       f"route replace default via {GATEWAY} dev wan0")
        self._network.introduce_neighbours()

    def forget_mappings(self):
        """Empties the router's table, as a restart does."""
        self.router.inside(_flush_connection_tracking)
        self.router.nft("flush map ip nat open\nflush set ip nat talked\n")

    def interfaces(self):
        yield self.peer, "lan0"
        yield self.router, "lan0"
        yield self.router, "wan0"
        if self.filter:
            yield self.filter, "near"
            yield self.filter, "far"


class Cable:
    """Two machines, `a` and `b`, and one cable between their `eth0`: no router, no default route, nothing else.

    `a` and `b` are the addresses of each ("10.1.1.1/24", "fd00:1::1/64"). Both have IPv6 and the link-local address
    that goes with it.
    """

    _serial = 0

    def __init__(self, a=(), b=(), mtu=1500):
        Cable._serial += 1
        self._hosts = []
        try:
            for name in "ab":
                self._hosts.append(Namespace(f"c{Cable._serial}{name}", has_ipv6=True))
            run(["ip", "link", "add", "eth0", "netns", self.a.name, "type", "veth", "peer", "name", "eth0",
                 "netns", self.b.name])
            for host, addresses in ((self.a, a), (self.b, b)):
                host.ip(f"link set eth0 mtu {mtu}", *[f"addr add {address} dev eth0" for address in addresses])
            for host in self._hosts:
                host.ip("link set eth0 up")
            # The kernel takes up to a second to report a carrier.
            for host in self._hosts:
                host.wait_for_carrier("eth0")
        except BaseException:
            self.remove()
            raise

    @property
    def a(self):
        return self._hosts[0]

    @property
    def b(self):
        return self._hosts[1]

    def switch_offloads_off(self):
        """Packets are as they would be on a wire: checksummed, and no larger than the MTU."""
        for host in self._hosts:
            offloads = ("rx", "tx", "tso", "gso", "gro", "tx-udp-segmentation")
            run(host.command(["ethtool", "-K", "eth0", *(word for name in offloads for word in (name, "off"))]))

    def remove(self):
        for host in self._hosts:
            host.remove()
        self._hosts = []


class Network:
    _serial = 0

    def __init__(self, kinds, forwarders=()):
        """`kinds`: the NAT of each peer, from the first on. `forwarders`: indices (from 1) of peers with a
        forwarder."""
        Network._serial += 1
        self.prefix = f"l{Network._serial}"
        self._namespaces = []
        self._link_addresses = {}
        try:
            self.core = self.namespace(self.prefix + "net")
            # The default route of all sites: packets to unknown addresses, such as foreign private ones, are dropped
            # silently.
            self.core.ip("link add br0 type bridge", f"addr add {GATEWAY}/24 dev br0", "link set br0 up")
            self.server = self._host("srv", (SERVER, PROBE))
            self.turn = self._host("turn", (TURN,))
            self.sites = [
                Site(self, index, kind, index in forwarders) for index, kind in enumerate(kinds, 1)
            ]
            self._route_open_sites()
            self.introduce_neighbours()
            if forwarders:
                self._switch_offloads_off()
        except BaseException:
            self.remove()
            raise

    def namespace(self, name):
        made = Namespace(name)
        self._namespaces.append(made)
        return made

    def attach(self, namespace, interface, port, filter=None):
        """A cable from an interface to a port of the network, through the forwarder's namespace where there is one."""
        if filter is None:
            run(["ip", "link", "add", interface, "netns", namespace.name, "type", "veth", "peer", "name", port,
                 "netns", self.core.name])
        else:
            run(["ip", "link", "add", interface, "netns", namespace.name, "type", "veth", "peer", "name", "near",
                 "netns", filter.name])
            run(["ip", "link", "add", "far", "netns", filter.name, "type", "veth", "peer", "name", port,
                 "netns", self.core.name])
            filter.ip("link set near up", "link set far up")
        self.core.ip(f"link set {port} master br0", f"link set {port} up")

    def _host(self, name, addresses):
        host = self.namespace(self.prefix + name)
        self.attach(host, "eth0", name)
        host.ip(*[f"addr add {address}/24 dev eth0" for address in addresses], "link set eth0 up",
                f"route add default via {GATEWAY} dev eth0")
        return host

    def _route_open_sites(self):
        for site in self.sites:
            if site.kind != "none":
                continue
            for host in [self.server, self.turn] + [other.router for other in self.sites if other is not site]:
                host.ip(f"route add {site.subnet}/{site.subnet_bits} via {site.public}")

    def introduce_neighbours(self):
        """Everybody on the network knows everybody's link address. It stands for the internet, where no packet waits a
        round trip for its first hop."""
        nodes = [(self.core, "br0", (GATEWAY,)), (self.server, "eth0", (SERVER, PROBE)), (self.turn, "eth0", (TURN,))]
        nodes += [(site.router, "wan0", (site.public,)) for site in self.sites]
        for namespace, interface, _ in nodes:
            if namespace.name not in self._link_addresses:
                self._link_addresses[namespace.name] = namespace.link_address(interface)
        for namespace, interface, _ in nodes:
            namespace.ip(*[
                f"neigh replace {address} lladdr {self._link_addresses[other.name]} dev {interface} nud permanent"
                for other, _, addresses in nodes if other is not namespace for address in addresses])

    def _switch_offloads_off(self):
        """Gives the forwarder packets as they are on a wire: checksummed, and no larger than the MTU."""
        interfaces = [(self.server, "eth0"), (self.turn, "eth0")]
        for site in self.sites:
            interfaces += site.interfaces()
        for namespace, interface in interfaces:
            run(namespace.command(["ethtool", "-K", interface, "rx", "off", "tx", "off", "tso", "off", "gso", "off",
                                   "gro", "off"]))

    def drop_server(self):
        """Makes the server unreachable while it runs: its connections are half-open."""
        self.server.nft("table ip outage { chain in { type filter hook prerouting priority raw; drop; }; "
                        "chain out { type filter hook output priority raw; drop; }; }\n")

    def stop_dropping_server(self):
        self.server.nft("delete table ip outage\n")

    def remove(self):
        for namespace in reversed(self._namespaces):
            namespace.remove()
        self._namespaces = []


def _flush_connection_tracking():
    """One netlink message: IPCTNL_MSG_CT_DELETE without attributes deletes every entry
    (linux/netfilter/nfnetlink_conntrack.h)."""
    netfilter, delete, request_ack = 12, (1 << 8) | 2, 0x1 | 0x4
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netfilter) as link:
        link.settimeout(5)
        length = 16 + 4
        header = length.to_bytes(4, "little") + delete.to_bytes(2, "little") + request_ack.to_bytes(2, "little")
        link.send(header + (1).to_bytes(4, "little") + bytes(4) + bytes([socket.AF_UNSPEC, 0, 0, 0]))
        answer = link.recv(4096)
        error = int.from_bytes(answer[16:20], "little", signed=True)
        if error != 0:
            raise OSError(-error, "deleting connection tracking entries")
