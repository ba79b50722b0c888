"""Headers that servers obey in place of the request line, or believe of who asks."""

OBEYED = (
    *("x-service-token", "x-http-method-override", "x-http-method", "x-method-override"),
    *("x-method", "x-original-method", "x-original-url", "x-original-uri", "x-original-host"),
    *("x-rewrite-url", "x-host", "x-forwarded-uri", "x-forwarded-path", "x-forwarded-method"),
    *("x-forwarded-user", "x-forwarded-email", "x-script-name", "script-name", "path-info"),
    *("remote-user", "x-remote-user", "x-webauth-user", "proxy"),
    *("x-auth-request-user", "x-auth-request-email", "x-auth-request-groups"),
    *("x-auth-request-preferred-username", "x-auth-request-access-token"),
    "x-auth-request-redirect",
)

# A proxy in front may set these rightly; they matter where a policy has hosts.
OBEYED_WITH_HOSTS = ("forwarded", "x-forwarded-host", "x-forwarded-prefix")
