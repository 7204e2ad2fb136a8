#!/usr/bin/env python3
"""Records what the NAT of a real kernel makes of packets, byte for byte.

    sudo python3 record_nat.py < nat.in > nat.txt

The namespaces are those of record.py. Lines of input:

    # name                  a new walk: no rules, no entries, no addresses but the first of each device
    rule ARGUMENTS          iptables -t nat ARGUMENTS
    addr DEVICE ADDR        ip addr add
    via ADDR                the gateway to everything that is not on a link
    ends SRC DST            the client's and the server's end of the packets that follow
    > udp 10                a packet, as in record.py; `<` answers what came out last on the right,
                          and `=` is the ICMP identifier of that
    < error 3 3 28          an ICMP error from the server about what came out last on the right, quoting so many bytes
    < error 3 3 28 ADDR     the same, from another host
    local SRC DST           a UDP datagram of a socket of the router

Each goes out again with what came out on the other side: its ends and its bytes, or DROPPED.
"""

import socket
import struct
import subprocess
import sys

import record


def ends_of(packet):
    header_len = (packet[0] & 15) * 4
    src, dst = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    sport, dport = struct.unpack("!HH", packet[header_len : header_len + 4])
    if packet[9] == 1:
        sport = dport = struct.unpack("!H", packet[header_len + 4 : header_len + 6])[0]
    return (src, sport), (dst, dport)


def receive(sockets, side):
    while True:
        try:
            frame = sockets[side].recv(2048)
        except socket.timeout:
            return None
        if frame[:6] == record.raw_mac(record.MAC[side]):
            return frame[14 : 14 + struct.unpack("!H", frame[16:18])[0]]


def forward(sockets, macs, side, packet):
    sockets[side].send(record.raw_mac(macs[side]) + record.raw_mac(record.MAC[side]) + b"\x08\x00" + packet)
    return receive(sockets, {"left": "right", "right": "left"}[side])


def shown(packet):
    if packet is None:
        return "DROPPED"
    (src, sport), (dst, dport) = ends_of(packet)
    return f"{src}:{sport} {dst}:{dport} {packet.hex()}"


def endpoint(text):
    addr, port = text.split(":")
    return addr, int(port)


def error(words, about):
    kind, code, length = (int(word) for word in words[:3])
    src = words[3] if len(words) > 3 else socket.inet_ntoa(about[16:20])
    message = struct.pack("!BBHI", kind, code, 0, 0) + about[:length]
    message = message[:2] + struct.pack("!H", record.checksum(message)) + message[4:]
    return record.ipv4(src, socket.inet_ntoa(about[12:16]), 1, message)


def via(gateway):
    """Makes a host on the right the gateway to everywhere."""
    record.run(f"ip neigh replace {gateway} lladdr {record.MAC['right']} dev eth1 nud permanent")
    record.run(f"ip route replace default via {gateway} dev eth1 onlink")


class Walk:
    def __init__(self):
        record.run("iptables -t nat -F")
        record.run("iptables -t nat -A POSTROUTING -s 203.0.113.1 -j ACCEPT")
        subprocess.run(["conntrack", "-F"], capture_output=True)
        for device in ("eth0", "eth1"):
            for line in record.run(f"ip -o -4 addr show {device}").splitlines()[1:]:
                # Its secondaries go with a primary address.
                subprocess.run(["ip", "addr", "del", line.split()[3], "dev", device], capture_output=True)
        via("192.168.0.1")
        self.client, self.server = (record.LEFT, 40000), (record.RIGHT, 80)
        self.right = None


def main():
    record.RULES = ""
    sockets, macs = record.build()
    # Any destination behind a device is the host on its other end.
    for third in (2, 3, 4, 5):
        record.run(f"ip neigh replace 192.168.0.{third} lladdr {record.MAC['right']} dev eth1 nud permanent")
        record.run(f"ip neigh replace 10.0.0.{third} lladdr {record.MAC['left']} dev eth0 nud permanent")
    print(f"# Linux {record.os.uname().release.split('-')[0]}")
    walk = Walk()
    try:
        for line in sys.stdin:
            line = line.split("|")[0].strip()
            words = line.split()
            if not line or line.startswith("#"):
                walk = Walk()
                print(line)
            elif words[0] == "rule":
                record.run(f"iptables -t nat {line[5:]}")
                print(line)
            elif words[0] == "addr":
                record.run(f"ip addr add {words[2]} dev {words[1]}")
                print(line)
            elif words[0] == "via":
                via(words[1])
                print(line)
            elif words[0] == "ends":
                walk.client, walk.server = endpoint(words[1]), endpoint(words[2])
                print(line)
            elif words[0] == "local":
                (src, dst) = endpoint(words[1]), endpoint(words[2])
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind(src)
                    sender.sendto(b"x" * 10, dst)
                packet = receive(sockets, "right")
                print(f"{line} | {shown(packet).rsplit(' ', 1)[0]}", flush=True)
            elif words[0] == ">":
                packet = record.BUILDERS[words[1]](walk.client, walk.server, words[2:])
                walk.right = forward(sockets, macs, "left", packet)
                print(f"{line} | {shown(walk.right)}", flush=True)
            elif words[1] == "error":
                packet = forward(sockets, macs, "right", error(words[2:], walk.right))
                print(f"{line} | {shown(packet)}", flush=True)
            else:
                src, dst = ends_of(walk.right)
                words = [str(src[1]) if word == "=" else word for word in words]
                packet = forward(sockets, macs, "right", record.BUILDERS[words[1]](dst, src, words[2:]))
                print(f"{line} | {shown(packet)}", flush=True)
    finally:
        record.clean()


main()
