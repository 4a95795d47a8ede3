#!/bin/sh
# A bot for snug: what is said comes line by line on stdin, what it says goes to stdout, in the protocol of PROTOCOL.md.
# Run it by hand:    snug bot run --as NAME '#lobby' -- ./NAME.sh
# Or by the daemon:  [[bot]] name = "NAME", exec = ["./NAME.sh"], rooms = ["#lobby"]
while read -r line; do
  case "$line" in
    *" MSG #lobby !hello"*) echo "MSG #lobby hello yourself" ;;
  esac
done
