"""From entries.json and an operator's configuration to what BMv2's control plane is told.

entries.json names each table, value set, session and queue, and says by role what goes into it ("from":
"switch.address") or the number itself ("value": 508). The configuration has the roles; of a list (`for_each`)
each item brings its own.
"""


def number(value):
    """A number, or an address (dotted, or with colons) as a number."""
    if isinstance(value, int):
        return int(value)
    if ":" in value:
        return int(value.replace(":", ""), 16)
    result = 0
    for part in value.split("."):
        result = result << 8 | int(part)
    return result


def resolved(source, roles):
    """The number of a parameter."""
    return number(source["value"] if "value" in source else roles[source["from"]])


def parameters(table, roles):
    """The parameters of a table's action."""
    return " ".join(str(resolved(parameter, roles)) for parameter in table["parameters"])


def match(key, roles):
    """One column of a row's key."""
    value = roles[key["from"]]
    if key["matching"] == "ternary":
        value, mask = value if isinstance(value, list) else (value, (1 << key["bits"]) - 1)
        return f"{number(value):#x}&&&{number(mask):#x}"
    if key["matching"] == "lpm":
        prefix, length = value.split("/")
        return f"{number(prefix):#x}/{length}"
    return str(number(value))


def defaults(entries, operator):
    """The rows of tables that have one row."""
    return [
        f"table_set_default {table['table']} {table['action']} {parameters(table, operator)}"
        for table in entries["defaults"]
    ]


def rows(entries, operator):
    """The rows of all other tables."""
    for table in entries["tables"]:
        for item in operator[table["for_each"]]:
            roles = {**operator, **item}
            key = " ".join(match(column, roles) for column in table["key"])
            priority = f" {roles[table['priority']]}" if "priority" in table else ""
            yield f"table_add {table['table']} {table['action']} {key} => {parameters(table, roles)}{priority}"


def value_sets(entries, operator):
    """The members of the parser's value sets, each one number: its fields side by side."""
    for value_set in entries["value_sets"]:
        for item in operator[value_set["for_each"]]:
            member = 0
            for field in value_set["members"]:
                member = member << field["bits"] | resolved(field, {**operator, **item})
            yield f"pvs_add {value_set['value_set']} {member:#x}"


def sessions(entries, operator):
    """Mirror sessions; those of a list count up."""
    for mirror in entries["mirror_sessions"]:
        for offset, item in enumerate(operator[mirror["for_each"]] if "for_each" in mirror else [{}]):
            port = resolved(mirror["port"], {**operator, **item})
            yield f"mirroring_add {mirror['session'] + offset} {port}"


def commands(entries, operator):
    """All that a switch has to be told before it works."""
    queues = [f"set_queue_rate {queue['packets_per_second']} {queue['port']}" for queue in entries["queues"]]
    return [
        *defaults(entries, operator),
        *rows(entries, operator),
        *value_sets(entries, operator),
        *sessions(entries, operator),
        *queues,
    ]
