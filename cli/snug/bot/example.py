#!/usr/bin/env python3
"""A bot for snug: what is said comes line by line on stdin, what it says goes to stdout, in the protocol of PROTOCOL.md.

Run it by hand:    snug bot run --as NAME '#lobby' -- ./NAME.py
Or by the daemon:  [[bot]] name = "NAME", exec = ["./NAME.py"], rooms = ["#lobby"]
"""
import re
import sys

# [@tags] [:who] VERB target text
LINE = re.compile(r"(?:@(?P<tags>\S+) )?(?::(?P<who>\S+) )?(?P<verb>[A-Z]+)(?: (?P<target>\S+))?(?: (?P<text>.*))?$")


def say(line):
    print(line, flush=True)


for line in sys.stdin:
    said = LINE.match(line.rstrip("\n"))
    if not said or not said["who"] or not said["text"]:
        continue
    if said["text"].startswith("!hello"):
        if said["verb"] == "MSG":
            say(f"MSG {said['target']} hello {said['who']}")
        elif said["verb"] == "PRIV":
            say(f"PRIV {said['who']} hello")
