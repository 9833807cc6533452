# shellcheck shell=bash
#
# For tests of what is printed as JSON: `load ../lib/json`.

# json EXPRESSION: prints what Python prints for it; `root` is the JSON on stdin.
json() { python3 -c 'import json, sys; root = json.load(sys.stdin); eval(f"print({sys.argv[1]})")' "$1"; }
