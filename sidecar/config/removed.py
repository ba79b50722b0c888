"""Headers of clients that must not reach the upstream, besides the identity headers.

Envoy removes them too, and lets the sidecar remove them; a test compares ``envoy/`` with this.
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
    # a file, and where it is: Rack::Sendfile (CVE-2025-61780)
    "x-sendfile-type",
    "x-accel-mapping",
    # a step of Next.js that is left out: its middleware, which may route (CVE-2025-29927)
    "x-middleware-subrequest",
    # another host; none of these is a standard
    "x-host",
    "x-original-host",
    # a user: proxies that log users in for Grafana, Jupyter, Jenkins, Trac, Kubernetes and others
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-groups",
    "x-remote-user",
    "x-remote-group",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "x-auth-request-redirect",
    "x-webauth-user",
    # CGI turns it into HTTP_PROXY, which programs obey ("httpoxy")
    "proxy",
)
"""The default of ``policy.remove_headers``."""

REMOVED_WITH_HOSTS = ("forwarded", "x-forwarded-host", "x-forwarded-server", "x-forwarded-prefix")
"""Added to that default if the policy names hosts; else, proxies in front may need to send them.
Jetty takes the host from ``x-forwarded-server`` too."""
