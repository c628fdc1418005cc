"""The shape of every request, checked before anything else is."""

_NAME = {"type": ["string", "null"], "maxLength": 255}
_ID = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Za-z0-9._-]+$"}
_SITE = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"}


def _texts(longest):
    return {
        "type": "object",
        "maxProperties": 256,
        "patternProperties": {"^.{1,255}$": {"type": "string", "maxLength": longest}},
        "additionalProperties": False,
    }


_PROGRESS = {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"}


def _exactly(name, properties, optional=()):
    return {
        "type": "object",
        "required": [name],
        "additionalProperties": False,
        "properties": {name: _object(properties, optional)},
    }


def _object(properties, optional=()):
    return {
        "type": "object",
        "required": sorted(set(properties) - set(optional)),
        "additionalProperties": False,
        "properties": properties,
    }


# What both sites have of a volume: see `chains`.
KINDS_OF_CHAIN = ("common", "changed", "deleted", "broken", "only_there")
_COPIES = {"type": "array", "maxItems": 500, "items": _object({"source": _ID, "snapshot": _ID})}

CHAIN = _object({kind: _COPIES for kind in KINDS_OF_CHAIN})

COPY = _exactly("os-copy_to_site", {"site": _SITE})

RELEASE = {
    "type": "object",
    "required": ["os-release_copy"],
    "additionalProperties": False,
    "properties": {"os-release_copy": {"type": ["object", "null"], "maxProperties": 0}},
}

IMPORT = _exactly(
    "import",
    {
        "site": _SITE,
        "copy_id": _ID,
        "project": _object({"id": _ID, "name": _NAME}, optional=["name"]),
        "volume": _object(
            {
                "id": _ID,
                "name": _NAME,
                "description": _NAME,
                "type": _NAME,
                "bootable": {"type": "boolean"},
                "metadata": _texts(255),
                "image_metadata": _texts(65535),
            }
        ),
        "snapshot": _object(
            {
                "id": _ID,
                "name": _NAME,
                "description": _NAME,
                "metadata": _texts(255),
                "created_at": _NAME,
                "size": {"type": "integer", "minimum": 1, "maximum": 1 << 30},
            }
        ),
        "chain": _object({"complete": {"type": "boolean"}, "copies": _COPIES}),
    },
    optional=["chain"],
)

PROGRESS = _exactly("import", {"status": {"enum": ["creating", "available"]}, "progress": _PROGRESS}, ["progress"])
