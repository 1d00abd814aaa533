"""The types of other crates that our public API shows, against the list in `Cargo.toml`.

Reads the JSON that rustdoc wrote: `external_types.py target/doc/tower_upstream.json`.
"""

import fnmatch
import json
import sys
import tomllib

OWN = {"std", "core", "alloc"}

with open(sys.argv[1]) as file:
    doc = json.load(file)
with open("Cargo.toml", "rb") as file:
    metadata = tomllib.load(file)["package"]["metadata"]
allowed = metadata["cargo_check_external_types"]["allowed_external_types"]

crates = {int(key): value["name"] for key, value in doc["external_crates"].items()}
shown = {}


def walk(node, where):
    """Notes each path to a type or trait below `node`."""
    if isinstance(node, list):
        for child in node:
            walk(child, where)
    elif isinstance(node, dict):
        if {"path", "id", "args"} <= node.keys():
            found = doc["paths"].get(str(node["id"]))
            is_foreign = found and found["crate_id"] != 0 and crates[found["crate_id"]] not in OWN
            # Macros of other crates need names of their own.
            if is_foreign and "__private" not in found["path"]:
                shown.setdefault("::".join(found["path"]), where)
        for key, child in node.items():
            # Neither what a text links to nor what an attribute says is a part of the API.
            if key not in ("links", "docs", "attrs"):
                walk(child, where)


def visit(key, path=()):
    """Walks an item, and the items in it that others can name."""
    item = doc["index"].get(str(key))
    if not item or item["id"] in visited:
        return
    visited.add(item["id"])
    path = (*path, item["name"]) if item["name"] else path
    [(kind, inner)] = item["inner"].items()
    if kind == "impl" and (inner["blanket_impl"] or inner["is_synthetic"]):
        # What other crates implement for every type, and what the compiler does by itself.
        return
    if kind == "use":
        return visit(inner["id"], path)
    lists = ("items", "impls", "implementations", "variants")
    children = [child for of in lists for child in inner.get(of, [])]
    fields = inner.get("kind", {})
    if isinstance(fields, dict):
        for of in fields.values():
            children += of["fields"] if isinstance(of, dict) else [field for field in of if field]
    if kind not in ("module", "enum"):
        walk(inner, "::".join(path))
    for child in children:
        visit(child, path)


visited = set()
visit(doc["root"])

print(f"{len(shown)} types and traits of other crates are public")
stray = {name for name in shown if not any(fnmatch.fnmatchcase(name, glob) for glob in allowed)}
for name in sorted(stray):
    print(f"not on the list in Cargo.toml: {name}, in {shown[name]}")
unused = [glob for glob in allowed if not any(fnmatch.fnmatchcase(name, glob) for name in shown)]
for glob in unused:
    print(f"on the list in Cargo.toml, but nowhere public: {glob}")
sys.exit(bool(stray or unused))
