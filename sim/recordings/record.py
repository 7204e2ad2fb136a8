#!/usr/bin/env python3
"""Records what the conntrack of a real kernel makes of packets.

    sudo python3 record.py < walks.in > walks.txt

Three network namespaces are made for it, linked with each other and with nothing else: left (10.0.0.1), a router, and right
(192.168.0.1). Left and right have no addresses, so that nothing answers but this script. Each line of input that begins with
`>` or `<` is a packet from left or from right; the router forwards it, its nftables rules write its conntrack state into
DSCP, and the line goes out again with that state and what `conntrack -L` then shows.

Needs root, iproute2, nftables and conntrack-tools.
"""

import ctypes
import os
import re
import socket
import struct
import subprocess
import sys
import time

NAMES = {side: f"hairpin-{side}" for side in ("left", "router", "right")}
LEFT, RIGHT = "10.0.0.1", "192.168.0.1"
MAC = {"left": "02:00:00:00:00:01", "right": "02:00:00:00:00:02"}
# DSCP that the rules write, and what it means; eight more in the reply direction.
STATES = {1: "NEW", 2: "ESTABLISHED", 3: "RELATED", 4: "INVALID", 5: "UNTRACKED"}
RULES = """
table ip record {
    chain forward {
        type filter hook forward priority 0; policy accept;
        ct state invalid ip dscp set 4 accept
        ct state untracked ip dscp set 5 accept
        ct direction original ct state new ip dscp set 1 accept
        ct direction original ct state established ip dscp set 2 accept
        ct direction original ct state related ip dscp set 3 accept
        ct direction reply ct state established ip dscp set 10 accept
        ct direction reply ct state related ip dscp set 11 accept
    }
}
"""


def run(command, text=None):
    return subprocess.run(command, shell=True, check=True, text=True, input=text, capture_output=True).stdout


def enter(side):
    handle = os.open(f"/run/netns/{NAMES[side]}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(handle)


def clean():
    for name in NAMES.values():
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def build():
    clean()
    for name in NAMES.values():
        run(f"ip netns add {name}")
    for side, device, addr in (("left", "eth0", "10.0.0.254/24"), ("right", "eth1", "192.168.0.254/24")):
        run(f"ip -n {NAMES['router']} link add {device} type veth peer name eth0 netns {NAMES[side]}")
        run(f"ip -n {NAMES['router']} addr add {addr} dev {device}")
        run(f"ip -n {NAMES['router']} link set {device} up")
        run(f"ip netns exec {NAMES[side]} sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        run(f"ip -n {NAMES[side]} link set eth0 address {MAC[side]} up")
        peer = {"left": LEFT, "right": RIGHT}[side]
        run(f"ip -n {NAMES['router']} neigh replace {peer} lladdr {MAC[side]} dev {device} nud permanent")
    router = f"ip netns exec {NAMES['router']}"
    run(f"{router} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv6.conf.all.disable_ipv6=1")
    run(f"{router} nft -f -", RULES)
    sockets = {}
    for side in ("left", "right"):
        enter(side)
        sockets[side] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        sockets[side].bind(("eth0", 0x0800))
        sockets[side].settimeout(0.2)
    macs = {}
    for side, device in (("left", "eth0"), ("right", "eth1")):
        macs[side] = run(f"ip -n {NAMES['router']} -o link show {device}").split("link/ether ")[1].split()[0]
    enter("router")
    return sockets, macs


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def ipv4(src, dst, protocol, payload):
    addrs = socket.inet_aton(src) + socket.inet_aton(dst)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0) + addrs
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def with_pseudo_header(src, dst, protocol, l4, at):
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", protocol, len(l4))
    return l4[:at] + struct.pack("!H", checksum(pseudo + l4) or 0xFFFF) + l4[at + 2 :]


def tcp(src, dst, words):
    flags, sequence, acknowledgment, window, length = words[0], *(int(word) & 0xFFFFFFFF for word in words[1:5])
    bits = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32}
    options = b""
    for option in words[5].split(",") if len(words) > 5 else []:
        if option.startswith("ws"):
            options += bytes([1, 3, 3, int(option[2:])])
        elif option == "sok":
            options += bytes([1, 1, 4, 2])
        elif option.startswith("sack"):
            left, right = option[4:].split("-")
            options += bytes([1, 1, 5, 10]) + struct.pack("!II", int(left) & 0xFFFFFFFF, int(right) & 0xFFFFFFFF)
        else:
            raise ValueError(option)
    flag_bits = sum(bits[letter] for letter in flags if letter != "-")
    header = struct.pack("!HHIIBBHHH", src[1], dst[1], sequence, acknowledgment,
                         (5 + len(options) // 4) << 4, flag_bits, window, 0, 0)
    return ipv4(src[0], dst[0], 6, with_pseudo_header(src[0], dst[0], 6, header + options + b"x" * length, 16))


def udp(src, dst, words):
    l4 = struct.pack("!HHHH", src[1], dst[1], 8 + int(words[0]), 0) + b"x" * int(words[0])
    return ipv4(src[0], dst[0], 17, with_pseudo_header(src[0], dst[0], 17, l4, 6))


def sctp(src, dst, words):
    """TAG then chunks: TYPE, TYPE+T (reflected tag), TYPE:TAG (INIT and INIT ACK)."""
    chunks = b""
    for word in words[1:]:
        kind, _, tag = word.partition(":")
        kind, _, reflected = kind.partition("+")
        body = struct.pack("!IIHHI", int(tag), 1500, 1, 1, 1) if tag else b"\0\0\0\0"
        chunks += struct.pack("!BBH", int(kind), 1 if reflected else 0, 4 + len(body)) + body
    l4 = struct.pack("!HHII", src[1], dst[1], int(words[0]), 0) + chunks
    return ipv4(src[0], dst[0], 132, l4[:8] + struct.pack("<I", crc32c(l4)) + l4[12:])


def icmp(src, dst, words):
    """TYPE CODE ID, then, for an error, the transport protocol of the quoted packet (the one that it answers)."""
    kind, code, number = (int(word) for word in words[:3])
    body = b"ping"
    if len(words) > 3:
        number = 0
        body = ipv4(dst[0], src[0], {"tcp": 6, "udp": 17}[words[3]], struct.pack("!HHI", dst[1], src[1], 0))
    message = struct.pack("!BBHHH", kind, code, 0, number, 0) + body
    return ipv4(src[0], dst[0], 1, message[:2] + struct.pack("!H", checksum(message)) + message[4:])


BUILDERS = {"tcp": tcp, "udp": udp, "sctp": sctp, "icmp": icmp}


def raw_mac(text):
    return bytes(int(part, 16) for part in text.split(":"))


def send(sockets, macs, side, packet):
    """Sends a packet and gives the conntrack state under which it came out on the other side."""
    other = {"left": "right", "right": "left"}[side]
    sockets[side].send(raw_mac(macs[side]) + raw_mac(MAC[side]) + b"\x08\x00" + packet)
    while True:
        try:
            frame = sockets[other].recv(2048)
        except socket.timeout:
            return "DROPPED"
        if frame[:6] == raw_mac(MAC[other]):
            dscp = frame[15] >> 2
            return STATES[dscp & 7] + ("_REPLY" if dscp & 8 else "")


ENTRY = re.compile(r"^(\w+)\s+\d+ (\d+) (?:([A-Z_0-9]+) )?src=(\S+)")


def table(protocol, key):
    """What `conntrack -L` shows: direction of the original tuple, state, timeout, flags. Timeouts are rounded up."""
    found = []
    for line in run(f"conntrack -L -p {protocol} 2>/dev/null").splitlines():
        if f"{key} " in line:
            _, timeout, state, src = ENTRY.match(line).groups()
            flags = ("U" if "[UNREPLIED]" in line else "") + ("A" if "[ASSURED]" in line else "")
            found.append(f"{'>' if src == LEFT else '<'}{state or '-'}/{int(timeout) + 1}/{flags or '-'}")
    return " ".join(sorted(found)) or "none"


def main():
    sockets, macs = build()
    print(f"# Linux {os.uname().release.split('-')[0]}")
    defaults, port = {}, 20000
    try:
        for line in sys.stdin:
            line = line.split("|")[0].strip()
            words = line.split()
            if not line or line.startswith("#"):
                port += 1
                for name, value in defaults.items():
                    run(f"sysctl -qw net.netfilter.{name}={value}")
                defaults.clear()
                print(line)
            elif words[0] == "sleep":
                time.sleep(float(words[1]))
                print(line)
            elif words[0] == "set":
                defaults.setdefault(words[1], run(f"sysctl -n net.netfilter.{words[1]}").strip())
                run(f"sysctl -qw net.netfilter.{words[1]}={words[2]}")
                print(line)
            else:
                ends = [(LEFT, port), (RIGHT, 80)]
                side = {">": "left", "<": "right"}[words[0]]
                src, dst = ends if side == "left" else reversed(ends)
                state = send(sockets, macs, side, BUILDERS[words[1]](src, dst, words[2:]))
                protocol, key = words[1], f"port={port}"
                if protocol == "icmp":
                    # After an ICMP error, the flow that it is about is shown.
                    protocol, key = (words[5], key) if len(words) > 5 else ("icmp", f"id={words[4]}")
                print(f"{line} | {state} {table(protocol, key)}", flush=True)
    finally:
        clean()


if __name__ == "__main__":
    main()
