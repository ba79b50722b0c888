"""One header of an answer, on the request or on the denial."""

from sidecar.pb.ext_authz_pb2 import DeniedHttpResponse, HeaderValueOption, OkHttpResponse


def set_header(answer: OkHttpResponse | DeniedHttpResponse, name: str, value: str) -> None:
    """Let Envoy set a header, in place of any that are there. Raises TypeError."""
    if not isinstance(value, str) or not value:
        raise TypeError("a header's value is text, and some")
    option = answer.headers.add()  # in place: a message of its own would be copied
    header = option.header
    header.key = name
    header.value = value
    option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
