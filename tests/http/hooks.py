"""What Schemathesis is told about messages."""

import schemathesis


@schemathesis.hook
def before_call(context, case, *_):
    """Work is looked for no longer than a second: what cannot be found is not found in a
    minute either. What the interface is to refuse stays as it is."""
    body = case.body
    if case.operation.path == "/api/v1/messages" and isinstance(body, dict):
        asked = body.get("pow_time", 10)
        if "envelope" not in body and type(asked) is int and 1 <= asked <= 60:
            body["pow_time"] = 1
