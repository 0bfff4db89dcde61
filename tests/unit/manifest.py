"""What a scripted registry has of a model."""

from __future__ import annotations

import hashlib
import json

_LAYER = {"digest": f"sha256:{'1' * 64}", "size": 1}
MANIFEST = json.dumps({"schemaVersion": 2, "config": _LAYER, "layers": [_LAYER]}).encode() + b"\n"
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
