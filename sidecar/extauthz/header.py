"""Set one header, on the request or on the denial."""

from sidecar.pb.ext_authz_pb2 import DeniedHttpResponse, HeaderValueOption, OkHttpResponse


def set_header(answer: OkHttpResponse | DeniedHttpResponse, name: str, value: str) -> None:
    """Let Envoy set a header, replacing any of that name. Raises TypeError."""
    if not isinstance(value, str) or not value:
        raise TypeError("header value must be a non-empty string")
    option = answer.headers.add()  # in place: a separate message would be copied
    header = option.header
    header.key = name
    header.value = value
    option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
