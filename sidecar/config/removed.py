"""Headers that no client may send on to the upstream, beside the identity headers.

Envoy removes them too, and lets the sidecar remove them: a test holds ``envoy/`` against this.
"""

REMOVED = (
    # a credential of services, which the central gateway sends beside the user's
    "x-service-token",
    # another method than the request line's: Rails, Laravel, Symfony, Express, ASP.NET, Spring
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-method",
    "x-original-method",
    "x-forwarded-method",
    # another path: Symfony, Zend and others behind IIS, WSGI and FastCGI gateways, ingresses
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-script-name",
    "script-name",
    "path-info",
    # another host, of which none is a standard
    "x-host",
    "x-original-host",
    # a user: proxies that log in for Grafana, Jupyter, Jenkins, Trac and others
    "remote-user",
    "x-remote-user",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-auth-request-redirect",
    "x-webauth-user",
    # CGI makes HTTP_PROXY of it, which programs obey ("httpoxy")
    "proxy",
)
"""The default of ``policy.remove_headers``."""

REMOVED_WITH_HOSTS = ("forwarded", "x-forwarded-host", "x-forwarded-prefix")
"""Added to that default where the policy names hosts; proxies in front rightly send these too."""
