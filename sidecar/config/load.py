"""Load ``sidecar.yaml`` and the policy that it names, or report every error in them."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sidecar.config import files, rules, warnings
from sidecar.config.claims import ClaimsSection, IssuerClaims
from sidecar.config.environment import expand_service
from sidecar.config.lookups import IntrospectionSection
from sidecar.config.model import IssuerSection, Settings
from sidecar.config.policy_file import (
    CompiledPolicy,
    PolicySettings,
    PolicySource,
    compile_document,
    digest_of,
)
from sidecar.config.secrets import Secrets
from sidecar.config.token_places import TokenPlace
from sidecar.core.paths.escapes import KEPT
from sidecar.core.routes.table import Policy
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import ClaimNames, Issuer
from sidecar.core.tokens.lookups import Introspection
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents.document import Document
from sidecar.documents.findings import (
    BadValueError,
    ConfigError,
    Finding,
    Problem,
    Severity,
)
from sidecar.documents.kinds import Notes, RefusedError
from sidecar.documents.located import in_order, located
from sidecar.documents.schema import read_section
from sidecar.documents.untyped import at, mapping, sequence, texts
from sidecar.documents.values import SECRET_ALGORITHMS
from sidecar.documents.yaml_source import MAX_BYTES, read_yaml


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration: the settings as written, and the objects built from them.

    ``issuers`` are in the order of ``settings.zervi.issuers``, with secrets and without keys yet.
    ``registry_secret`` is what ``looma.token`` names in the environment: a token, or the secret for
    a login. ``route_lines`` has each route's line in the policy's file. ``shadow`` is the candidate
    of ``policy.shadow``.
    """

    settings: Settings
    policy: Policy
    issuers: tuple[Issuer, ...] = field(repr=False)
    token_sources: tuple[TokenSource, ...]
    service_token_sources: tuple[TokenSource, ...]
    identity_headers: IdentityHeaders
    registry_secret: str | None = field(repr=False)
    warnings: tuple[Finding, ...]
    route_lines: tuple[int, ...] = field(default=(), repr=False)
    shadow: Policy | None = None


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """The files of a configuration as they were read, and every finding about them.

    ``value`` is the untyped content of ``sidecar.yaml`` (``document``), with ``looma.service``
    filled in. ``policy`` and ``shadow`` are None where no file is named or it cannot be read. A
    review reads what is valid here, even where something else is not.
    """

    path: Path
    document: Document
    value: object
    settings: Settings | None
    secrets: Secrets
    policy: CompiledPolicy | None
    shadow: CompiledPolicy | None
    findings: tuple[Finding, ...]

    def config(self, reviewed: Iterable[Finding] = ()) -> Config:
        """Return the configuration, whose warnings include what a review found.

        Raises ConfigError with all findings where one of them is an error.
        """
        settings, policy = self.settings, self.policy and self.policy.policy
        findings = in_order([*self.findings, *reviewed])
        if (
            settings is None
            or policy is None
            or any(f.severity is Severity.ERROR for f in findings)
        ):
            raise ConfigError(findings)
        return Config(
            settings=settings,
            policy=policy,
            issuers=_issuers(settings, self.secrets),
            token_sources=tuple(map(_token_source, settings.zervi.token_sources)),
            service_token_sources=tuple(
                TokenSource("header", source.header, source.scheme)
                for source in settings.zervi.service_token_sources
            ),
            identity_headers=IdentityHeaders(**asdict(settings.policy.identity_headers)),
            registry_secret=self.secrets.registry,
            warnings=tuple(findings),
            route_lines=self.policy.lines() if self.policy else (),
            shadow=self.shadow and self.shadow.policy,
        )


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    offline: bool = False,
    policy_file: PolicySource | None = None,
) -> Config:
    """Read, check and resolve a configuration with its policy; see ``read_files``.

    Raises ConfigError with every error of all files, and nothing else whatever the files hold.
    """
    return read_files(path, environ, offline=offline, policy_file=policy_file).config()


def read_files(
    path: Path,
    environ: Mapping[str, str],
    *,
    offline: bool = False,
    policy_file: PolicySource | None = None,
) -> ConfigFiles:
    """Read and check a configuration with its policy.

    ``offline`` is for tools that judge requests where no sidecar runs: what only a running one
    needs (secrets, certificates, the registry) is optional; a candidate (``policy.shadow``) is not
    read. ``policy_file`` replaces ``policy.file``.

    Raises ConfigError where ``sidecar.yaml`` cannot be read to its end.
    """
    document = _read(path)
    base = path.parent
    value = _without_registry(document.value) if offline else document.value
    value, problems = expand_service(value, environ)
    settings = _settings(value, Notes(base, document.texts), problems)
    secrets = Secrets(value, base, environ)
    if not offline:
        problems += [*files.problems(value, base), *secrets.problems]
    wrong = {problem.place for problem in problems}
    problems += [warning for warning in warnings.problems(value) if warning.place not in wrong]
    source = policy_file or _policy_source(value, base, ("policy",), problems)
    candidate = None if offline else _policy_source(value, base, ("policy", "shadow"), problems)
    policy_settings = _policy_settings(value, settings)
    policy, found = _compiled(source, policy_settings)
    shadow, shadow_found = _compiled(candidate, policy_settings)
    findings = (*located(path, document, problems), *found, *shadow_found)
    return ConfigFiles(path, document, value, settings, secrets, policy, shadow, findings)


def read_policy(path: Path) -> PolicySource:
    """Read a policy's file. Raises BadValueError, whose message continues "the policy"."""
    content = files.read_file(path, MAX_BYTES)
    return PolicySource(path, read_yaml(content), digest_of(content))


def read_old_policy(path: Path) -> Policy:
    """Read a policy to compare routes with; its issuers may have gone since.

    Raises BadValueError as ``read_policy``, ConfigError with every error in it.
    """
    source = read_policy(path)
    routes = map(mapping, sequence(at(source.document.value, "api_gateway", "routes")))
    issuers = frozenset(name for route in routes for name in texts(route.get("issuers")))
    compiled, findings = _compiled(source, PolicySettings(issuers))
    if compiled is None or compiled.policy is None:
        raise ConfigError(findings)
    return compiled.policy


def _without_registry(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: entry for key, entry in value.items() if key != "looma"}


def _read(path: Path) -> Document:
    try:
        document = read_yaml(files.read_file(path, MAX_BYTES))
    except BadValueError as wrong:
        message = f"the file {wrong}"
        raise ConfigError([Finding("file", Severity.ERROR, str(path), 0, 0, message)]) from None
    if not document.complete:
        raise ConfigError(located(path, document, []))
    return document


def _settings(value: object, notes: Notes, problems: list[Problem]) -> Settings | None:
    """Read the settings and add their problems, without duplicates."""
    settings = None
    with suppress(RefusedError):
        settings = read_section(Settings, value, (), notes)
    unfilled = {problem.place for problem in problems}
    problems += [problem for problem in notes.problems if problem.place not in unfilled]
    typos = {problem.place[:-1] for problem in problems if problem.code == "misspelt-key"}
    problems += [
        problem
        for problem in rules.problems(value)
        if problem.code != "missing-key" or problem.place not in typos
    ]
    return settings


def _policy_settings(value: object, settings: Settings | None) -> PolicySettings:
    """Return the settings for compiling the policy.

    Defaults if the settings are invalid, so that the policy is checked anyway.
    """
    names = frozenset(
        name
        for issuer in sequence(at(value, "zervi", "issuers"))
        for name in texts(mapping(issuer).get("issuer"))
    )
    gateway = at(value, "gateway") is not None
    if settings is None:
        return PolicySettings(names, gateway=gateway)
    policy = settings.policy
    return PolicySettings(
        names,
        policy.cors_preflight,
        policy.ignore_case,
        frozenset(policy.allow_paths),
        policy.upstream,
        frozenset(name for name in KEPT if getattr(policy.encoded, name) is not None),
        gateway,
    )


def _policy_source(
    value: object, base: Path, section: tuple[str, ...], problems: list[Problem]
) -> PolicySource | None:
    """Read the table that a section's ``file`` names; None if there is none or it is unreadable."""
    name = at(value, *section, "file")
    if not isinstance(name, str) or not name.strip():
        return None  # the schema reports it
    try:
        return read_policy(base / name)
    except BadValueError as wrong:
        problems.append(Problem((*section, "file"), "file", f"the policy {wrong}", wrong.help))
        return None


def _compiled(
    source: PolicySource | None, settings: PolicySettings
) -> tuple[CompiledPolicy | None, list[Finding]]:
    if source is None:
        return None, []
    policy: Policy | None = None
    problems: list[Problem] = []
    if source.document.complete:
        policy, problems = compile_document(source.document, settings, source.digest)
    return CompiledPolicy(source, policy), located(source.path, source.document, problems)


def _issuers(settings: Settings, secrets: Secrets) -> tuple[Issuer, ...]:
    return tuple(
        Issuer(
            name=issuer.issuer,
            algorithms=_algorithms(issuer),
            audiences=frozenset(issuer.audiences or ()),
            allow_missing_issuer=issuer.allow_missing_issuer,
            secrets=held,
            claims=_claims(settings.zervi.claims, issuer.claims),
            role_permissions=(
                settings.zervi.role_permissions
                if issuer.role_permissions is None
                else issuer.role_permissions
            ),
            grantable=issuer.grantable,
            grantable_roles=issuer.grantable_roles,
            subject_pattern=issuer.subject_pattern,
            audience_claims=issuer.audience_claims,
            id_tokens="id" in issuer.token_types,
            service_when=tuple(each.rule() for each in issuer.service_when),
            introspection=_introspection(issuer.introspection),
        )
        for issuer, held in zip(settings.zervi.issuers, secrets.issuers, strict=True)
    )


def _introspection(section: IntrospectionSection | None) -> Introspection | None:
    if section is None:
        return None
    return Introspection(section.when == "always", section.match.shape())


def _algorithms(issuer: IssuerSection) -> frozenset[str]:
    if issuer.secret_env is None and issuer.secret_file is None:
        return frozenset(issuer.algorithms)
    # The default is for keys; that of a secret is HS256.
    return frozenset(issuer.algorithms).intersection(SECRET_ALGORITHMS) or frozenset({"HS256"})


def _claims(shared: ClaimsSection, own: IssuerClaims) -> ClaimNames:
    """Return an issuer's claims; those that it leaves out are the same as for every issuer."""
    given = {part: names for part, names in asdict(own).items() if names is not None}
    return ClaimNames(**{**asdict(shared), **given})


def _token_source(source: TokenPlace) -> TokenSource:
    if source.header is not None:
        return TokenSource("header", source.header, source.scheme)
    if source.cookie is not None:
        return TokenSource("cookie", source.cookie, origins=frozenset(source.origins))
    if source.websocket_protocol is not None:
        return TokenSource("websocket_protocol", source.websocket_protocol)
    return TokenSource("query", str(source.query))
