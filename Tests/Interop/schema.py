"""Checks messages against the JSON Schema of the protocol: the examples of WireProtocol.md, some messages that must be
refused, and recorded traffic.

    schema.py [TRAFFIC…]      files of recorder.py

Without the package `jsonschema` only the validator below is used; with it, both must agree. A member that the schema
does not know is an error here, though not in the protocol: so the schema can't miss one.
"""

import collections
import json
import pathlib
import re
import sys

CATALOG = pathlib.Path(__file__).parents[2] / "Sources/RoomProtocol/RoomProtocol.docc"
SCHEMA = json.loads((CATALOG / "room-v1.schema.json").read_text())
KNOWN_KEYWORDS = {
    "$schema", "$id", "$defs", "$ref", "title", "description", "type", "const", "enum", "pattern", "minLength",
    "maxLength", "minimum", "maximum", "maxItems", "items", "properties", "required", "maxProperties", "propertyNames",
    "additionalProperties", "anyOf", "oneOf",
}  # fmt: skip
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}


def errors(value, schema, path="$"):
    """The reasons why a value does not match, as sentences, and the names of members that the schema knows."""
    found, known = [], set()

    def fail(text):
        found.append(f"{path}: {text}")

    unknown = schema.keys() - KNOWN_KEYWORDS
    assert not unknown, f"the validator does not know {unknown}"
    if "$ref" in schema:
        of_reference, known_there = errors(value, referenced(schema["$ref"]), path)
        found += of_reference
        known |= known_there
    if "type" in schema and not has_type(value, schema["type"]):
        fail(f"is no {schema['type']}")
        return found, known
    if "const" in schema and value != schema["const"]:
        fail(f"is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        fail(f"is none of {schema['enum']}")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            fail(f"does not match {schema['pattern']}")
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            fail(f"has {len(value)} characters")
    if has_type(value, "number"):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            fail(f"{value} is out of range")
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            fail(f"has {len(value)} items")
        for index, item in enumerate(value):
            found += strict_errors(item, schema.get("items", {}), f"{path}[{index}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        known |= properties.keys()
        for name in schema.get("required", []):
            if name not in value:
                fail(f"has no {name}")
        if len(value) > schema.get("maxProperties", len(value)):
            fail(f"has {len(value)} members")
        for name, item in value.items():
            if "propertyNames" in schema:
                found += strict_errors(name, schema["propertyNames"], f"{path}.{name}")
            if name in properties:
                found += strict_errors(item, properties[name], f"{path}.{name}")
            elif "additionalProperties" in schema:
                known.add(name)
                found += strict_errors(item, schema["additionalProperties"], f"{path}.{name}")
    for keyword in ("anyOf", "oneOf"):
        if keyword not in schema:
            continue
        results = [errors(value, alternative, path) for alternative in schema[keyword]]
        matching = [known_there for failures, known_there in results if not failures]
        for known_there in matching:
            known |= known_there
        if not matching:
            # The alternative of the value's own type has the most to say.
            found += min((failures for failures, _ in results), key=lambda f: any(".type: is not" in e for e in f))
        elif keyword == "oneOf" and len(matching) != 1:
            fail(f"matches {len(matching)} alternatives")
    return found, known


def strict_errors(value, schema, path="$"):
    found, known = errors(value, schema, path)
    if isinstance(value, dict) and schema and not found:
        found += [f"{path}.{name}: is not in the schema" for name in value.keys() - known]
    return found


def referenced(reference):
    schema = SCHEMA
    for part in reference.removeprefix("#/").split("/"):
        schema = schema[part]
    return schema


def has_type(value, name):
    if name in ("number", "integer"):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and (name == "number" or value == int(value))
    return isinstance(value, TYPES[name])


def without_null(value):
    if isinstance(value, dict):
        return {name: without_null(item) for name, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


class Check:
    def __init__(self):
        self.failures = []
        self.counts = collections.Counter()
        try:
            import jsonschema
        except ImportError:
            self.others = None
            print("SKIPPED: the second validator: no Python package jsonschema")
            return
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        self.others = {
            side: jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{side}"}]})
            for side in ("client", "server")
        }

    def take(self, what, message, sides, is_valid=True):
        message = without_null(message)
        failures = {side: strict_errors(message, SCHEMA["$defs"][side]) for side in sides}
        is_good = any(not found for found in failures.values())
        if is_good != is_valid:
            best = min(failures.values(), key=len)
            self.failures.append(f"{what}: {'; '.join(best) or 'must be refused'}: {json.dumps(message)[:200]}")
        for side in sides if self.others else ():
            is_good_there = self.others[side].is_valid(message)
            # The other validator does not know our strict rule.
            is_unknown_member = any("is not in the schema" in failure for failure in failures[side])
            if is_good_there != (not failures[side]) and not is_unknown_member:
                self.failures.append(f"{what}: the validators disagree: {json.dumps(message)[:200]}")
        self.counts[what.split(":")[0]] += 1

    def examples(self):
        """Every JSON block of the article; where it is says whose message it is."""
        article = (CATALOG / "WireProtocol.md").read_text()
        client, server = article.index("## Client messages"), article.index("## Server messages")
        seen = {"client": set(), "server": set()}
        for block in re.finditer(r"^```json\n(.*?)^```", article, re.M | re.S):
            sides = ["client"] if client < block.start() < server else ["server"]
            for text in re.split(r"\n(?=\{)", block[1].strip()):
                message = json.loads(text)
                seen[sides[0]].add(message["type"])
                line = article[: block.start()].count("\n") + 1
                self.take(f"examples: WireProtocol.md:{line}", message, sides)
        for side in seen:
            refs = [referenced(alternative["$ref"]) for alternative in SCHEMA["$defs"][side]["anyOf"]]
            missing = {kind_of(schema) for schema in refs} - seen[side] - {"signal", "ack", "ping", "pong"}
            if missing:
                self.failures.append(f"WireProtocol.md has no example of {sorted(missing)} of the {side}")

    def refused(self):
        hello = {"type": "hello", "version": 1, "room": "r", "role": "guest", "name": "n"}
        signal = {"type": "signal", "peer": "p", "session": "s", "connection": "c", "negotiation": 1}
        description = {"description": {"type": "offer", "sdp": "v=0"}}
        for message in (
            {},
            {"type": "unknown"},
            {**hello, "role": "owner"},
            {**hello, "room": "r" * 129},
            {**hello, "metadata": {"key": 1}},
            {**hello, "metadata": {str(n): "" for n in range(17)}},
            {**hello, "resume": {}},
            {**hello, "version": 1.5},
            {**hello, "wait": "yes"},
            signal,
            {**signal, "peer": "a b", **description},
            {**signal, "candidate": {"candidate": "", "sdpMLineIndex": 65536}},
            {**signal, "description": {"type": "rollback", "sdp": "v=0"}},
            {**signal, "description": {"type": "offer", "sdp": ""}},
            {**signal, **description, "restartRequest": {}},
            {"type": "kick"},
            {"type": "ack", "received": -1},
            {"type": "ping", "id": True},
        ):
            self.take("refused", message, ["client"], is_valid=False)

    def traffic(self, path):
        kinds = collections.Counter()
        for number, line in enumerate(open(path), 1):
            record = json.loads(line)
            if "message" not in record:
                self.failures.append(f"traffic: {path}:{number}: no JSON: {record['text'][:200]}")
                continue
            self.take(f"traffic: {path}:{number}", record["message"], [record["from"]])
            kinds[record["from"], record["message"].get("type")] += 1
        print("recorded:", ", ".join(f"{count} {kind} of the {side}" for (side, kind), count in sorted(kinds.items())))


def kind_of(schema):
    while "properties" not in schema:
        schema = referenced(schema["$ref"])
    return schema["properties"]["type"]["const"]


def main():
    check = Check()
    check.examples()
    check.refused()
    for path in sys.argv[1:]:
        check.traffic(path)
    for failure in check.failures[:20]:
        print(f"FAILED: {failure}")
    print("ok: schema:" if not check.failures else "FAILED: schema:", dict(check.counts), flush=True)
    sys.exit(1 if check.failures else 0)


if __name__ == "__main__":
    main()
