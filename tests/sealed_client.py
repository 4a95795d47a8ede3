#!/usr/bin/env python3
"""A sealed snug client: lines from stdin go to the daemon, its lines to stdout.

    sealed_client.py HOST PORT FINGERPRINT

The envelope is that of PROTOCOL.md, without its options. Needs the package `cryptography`.
"""
import base64, hashlib, hmac, socket, sys, threading
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

WEAK = {bytes(32), bytes([1]) + bytes(31), *(bytes([b]) + b"\xff" * 30 + b"\x7f" for b in (0xEC, 0xED, 0xEE)),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")}


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def derive(secret, label, context=b""):
    return mac(secret, b"snug/1 " + label + b"\0" + context + b"\1")


def b64(text):
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data) != text:
        raise ValueError("not canonical base64")
    return data


class Half:
    """One direction: seals or opens records in order."""

    def __init__(self, traffic):
        self.rekey(traffic)

    def rekey(self, traffic):
        self.traffic, self.count = traffic, 0
        self.gcm, self.iv = AESGCM(derive(traffic, b"key")), derive(traffic, b"iv")[:12]

    def nonce(self):
        if self.count >= 1 << 20:
            raise ValueError("the key is used up")
        counter = bytes(4) + self.count.to_bytes(8, "big")
        self.count += 1
        return bytes(a ^ b for a, b in zip(self.iv, counter))

    def seal(self, kind, payload=b""):
        line = base64.b64encode(self.gcm.encrypt(self.nonce(), payload + kind, b"")) + b"\n"
        if self.count >= (1 << 20) - 1 and kind not in b"KX":
            line += self.seal(b"K")
        if kind == b"K":
            self.rekey(derive(self.traffic, b"rekey"))
        return line

    def open(self, line):
        if not line.endswith(b"\n"):
            sys.exit("connection lost")
        inner = self.gcm.decrypt(self.nonce(), b64(line[:-1]), b"").rstrip(b"\0")
        kind, payload = inner[-1:], inner[:-1]
        if kind not in (b"L", b"B", b"K", b"X") or kind == b"L" and not payload.endswith(b"\n"):
            raise ValueError("no record of this protocol")
        if kind == b"K":
            self.rekey(derive(self.traffic, b"rekey"))
        return kind, payload


def handshake(stream, fingerprint):
    share = X25519PrivateKey.generate()
    public = share.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    ch = b"HELLO snug/1 " + base64.b64encode(public) + b"\n"
    stream.write(ch)
    stream.flush()
    if not stream.readline().startswith(b"SNUG/1 "):
        sys.exit("this is no snug server")
    sh = stream.readline()
    words = sh[:-1].split(b" ")
    if words[:2] != [b"HELLO", b"snug/1"] or len(words) != 3 or sh[-1:] != b"\n":
        sys.exit("refused: " + sh.decode(errors="replace").strip())
    prk = mac(bytes(32), share.exchange(X25519PublicKey.from_public_bytes(b64(words[2]))))
    th1 = hashlib.sha256(ch + sh).digest()
    kind, identity = Half(derive(prk, b"server identity", th1)).open(stream.readline())
    word, key, signature = identity[:-1].split(b" ")
    key = b64(key)
    if kind != b"L" or word != b"IDENTITY" or key[:31] + bytes([key[31] & 0x7F]) in WEAK:
        sys.exit("the server could not prove its identity")
    Ed25519PublicKey.from_public_bytes(key).verify(b64(signature), b"snug/1 server signature\0" + th1 + key)
    shown = "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    if shown != fingerprint:
        sys.exit(f"THE KEY IS ANOTHER ONE: {shown} instead of {fingerprint}")
    th2 = hashlib.sha256(ch + sh + identity).digest()
    return Half(derive(prk, b"client traffic", th2)), Half(derive(prk, b"server traffic", th2))


def main(host, port, fingerprint):
    stream = socket.create_connection((host, int(port))).makefile("rwb")
    sender, receiver = handshake(stream, fingerprint)

    lock = threading.Lock()

    def send(kind, payload=b""):
        with lock:
            stream.write(sender.seal(kind, payload))
            stream.flush()

    def talk():
        for line in sys.stdin.buffer:
            send(b"L", line.rstrip(b"\r\n") + b"\n")
        send(b"X")

    threading.Thread(target=talk, daemon=True).start()
    for line in stream:
        kind, payload = receiver.open(line)
        if kind == b"X":
            sys.exit(payload.decode() or None)
        for text in payload.splitlines(True) if kind == b"L" else []:
            if text.startswith(b"PING "):
                send(b"L", b"PONG " + text[5:])
            else:
                sys.stdout.buffer.write(text)
        sys.stdout.flush()
    sys.exit("connection lost")


if __name__ == "__main__":
    main(*sys.argv[1:4])
