{{- define "zervi-sidecar.authz" -}}
{{- if eq .Values.socket "unix" -}}unix:/run/zervi/authz.sock{{- else -}}127.0.0.1:9001{{- end -}}
{{- end -}}

{{- /* Envoy's port: the one under which the registry lists this pod, as `generate envoy` reads it. */ -}}
{{- define "zervi-sidecar.port" -}}
{{- $parsed := .Values.config -}}
{{- if kindIs "string" $parsed -}}{{- $parsed = fromYaml $parsed -}}{{- end -}}
{{- $service := get (get $parsed "looma" | default dict) "service" | default dict -}}
{{- get $service "port" | default 10000 -}}
{{- end -}}

{{- /* sidecar.yaml: yours, and below it the addresses, which the probes and volumes of the pod depend on. */ -}}
{{- define "zervi-sidecar.config" -}}
{{- $text := .Values.config -}}
{{- if not (kindIs "string" $text) -}}{{- $text = toYaml $text -}}{{- end -}}
{{- $parsed := fromYaml $text -}}
{{- if hasKey $parsed "Error" -}}{{- fail (printf "config is not YAML: %s" (get $parsed "Error")) -}}{{- end -}}
{{- if not (hasKey $parsed "zervi") -}}{{- fail "config: give your sidecar.yaml, such as --set-file config=sidecar.yaml" -}}{{- end -}}
{{- if hasKey $parsed "listen" -}}{{- fail "config: leave out `listen`; the chart sets the addresses" -}}{{- end -}}
{{- $policy := get $parsed "policy" | default dict -}}
{{- if ne (get $policy "file" | default "") "routes.yaml" -}}{{- fail "config: `policy.file` is routes.yaml, which the value `routes` becomes" -}}{{- end -}}
{{- if eq .Values.mode "gateway" -}}
{{- $gateway := get $parsed "gateway" | default dict -}}
{{- if ne (get $gateway "envoy_dir" | default "") "/run/zervi/envoy" -}}{{- fail "config: the mode `gateway` needs `gateway.envoy_dir: /run/zervi/envoy`" -}}{{- end -}}
{{- else if hasKey $parsed "gateway" -}}{{- fail "config: `gateway` needs the mode `gateway`" -}}
{{- end -}}
{{ $text | trimSuffix "\n" }}
listen:
  authz: {{ include "zervi-sidecar.authz" . }}
  health: 0.0.0.0:9003 # only grpc.health.v1, for probes
  ops: 0.0.0.0:9002 # /livez /readyz /metrics; read-only, without secrets and personal data
  admin: unix:/run/zervi-admin/admin.sock # zervi-sidecar leave and promote
{{- end -}}

{{- define "zervi-sidecar.routes" -}}
{{- if not .Values.routes -}}{{- fail "routes: give your route table, such as --set-file routes=routes.yaml" -}}{{- end -}}
{{- if kindIs "string" .Values.routes -}}{{ .Values.routes | trimSuffix "\n" }}{{- else -}}{{ toYaml .Values.routes }}{{- end -}}
{{- end -}}

{{- /* Pods start again where Envoy's part may have changed. The sidecar itself reloads its files. */ -}}
{{- define "zervi-sidecar.podAnnotations" -}}
checksum/zervi-sidecar: {{ include "zervi-sidecar.config" . | sha256sum }}
{{- with .Values.envoy.bootstrap }}
checksum/envoy: {{ . | sha256sum }}
{{- end }}
{{- end -}}
