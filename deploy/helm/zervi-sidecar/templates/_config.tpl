{{- define "zervi-sidecar.authz" -}}
{{- if eq .Values.socket "unix" -}}unix:/run/zervi/authz.sock{{- else -}}127.0.0.1:9001{{- end -}}
{{- end -}}

{{- /* The value `config`, as a mapping in YAML. */ -}}
{{- define "zervi-sidecar.parsed" -}}
{{- if kindIs "string" .Values.config -}}
{{- $parsed := fromYaml .Values.config -}}
{{- if hasKey $parsed "Error" -}}{{- fail (printf "config is not YAML: %s" (get $parsed "Error")) -}}{{- end -}}
{{- range $section := list "zervi" "policy" "looma" "gateway" -}}
{{- if not (kindIs "map" (get $parsed $section | default dict)) -}}{{- fail (printf "config: `%s` must be a mapping" $section) -}}{{- end -}}
{{- end -}}
{{- toYaml $parsed -}}
{{- else -}}
{{- toYaml .Values.config -}}
{{- end -}}
{{- end -}}

{{- /* Envoy's port: the one under which the registry lists this pod, as `generate envoy` reads it. */ -}}
{{- define "zervi-sidecar.port" -}}
{{- $service := get (get (include "zervi-sidecar.parsed" . | fromYaml) "looma" | default dict) "service" | default dict -}}
{{- $port := get $service "port" | default 10000 | toString -}}
{{- if not (regexMatch "^[0-9]+$" $port) -}}{{- fail "config: `looma.service.port` must be a number, because Envoy listens on it" -}}{{- end -}}
{{- if has $port (list "9001" "9002" "9003" "9901") -}}{{- fail (printf "config: `looma.service.port` is %s, which the sidecar or Envoy uses in this chart" $port) -}}{{- end -}}
{{- $port -}}
{{- end -}}

{{- /* Seconds for which the sidecar still answers once it is to end: `drain`, or its default. */ -}}
{{- define "zervi-sidecar.drain" -}}
{{- $drain := get (include "zervi-sidecar.parsed" . | fromYaml) "drain" | default "15s" | toString -}}
{{- $number := regexFind "^[0-9]+" $drain | default "0" | int -}}
{{- if hasSuffix "ms" $drain -}}{{- div $number 1000 -}}
{{- else if hasSuffix "m" $drain -}}{{- mul $number 60 -}}
{{- else if hasSuffix "h" $drain -}}{{- mul $number 3600 -}}
{{- else -}}{{- $number -}}{{- end -}}
{{- end -}}

{{- /* The addresses, which the probes and volumes of the pod depend on. */ -}}
{{- define "zervi-sidecar.listen" -}}
listen:
  authz: {{ include "zervi-sidecar.authz" . }}
  health: 0.0.0.0:9003 # only grpc.health.v1, for probes
  ops: 0.0.0.0:9002 # /livez /readyz /metrics; read-only, without secrets and personal data
  admin: unix:/run/zervi-admin/admin.sock # zervi-sidecar leave and promote
{{- end -}}

{{- /* sidecar.yaml: yours with its comments, and `listen` below it. */ -}}
{{- define "zervi-sidecar.config" -}}
{{- $given := include "zervi-sidecar.parsed" . -}}
{{- $parsed := fromYaml $given -}}
{{- if not (hasKey $parsed "zervi") -}}{{- fail "config: give your sidecar.yaml, such as --set-file config=sidecar.yaml" -}}{{- end -}}
{{- if hasKey $parsed "listen" -}}{{- fail "config: leave out `listen`; the chart sets the addresses" -}}{{- end -}}
{{- $policy := get $parsed "policy" | default dict -}}
{{- if ne (get $policy "file" | default "") "routes.yaml" -}}{{- fail "config: `policy.file` is routes.yaml, which the value `routes` becomes" -}}{{- end -}}
{{- if eq .Values.mode "gateway" -}}
{{- $gateway := get $parsed "gateway" | default dict -}}
{{- if ne (get $gateway "envoy_dir" | default "") "/run/zervi/envoy" -}}{{- fail "config: the mode `gateway` needs `gateway.envoy_dir: /run/zervi/envoy`" -}}{{- end -}}
{{- else if hasKey $parsed "gateway" -}}{{- fail "config: `gateway` needs the mode `gateway`" -}}
{{- end -}}
{{- $listen := include "zervi-sidecar.listen" . -}}
{{- $text := $given -}}
{{- if kindIs "string" .Values.config -}}{{- $text = .Values.config | trimSuffix "\n" -}}{{- end -}}
{{- if regexMatch "\n(---|\\.\\.\\.)" $text -}}{{- fail "config: one YAML document, without `---` or `...` after it" -}}{{- end -}}
{{- if not (hasKey (fromYaml (printf "%s\n%s" $text $listen)) "listen") -}}{{- $text = $given -}}{{- end -}}{{- /* indented, or JSON */ -}}
{{ $text }}
{{ $listen }}
{{- end -}}

{{- define "zervi-sidecar.routes" -}}
{{- if not .Values.routes -}}{{- fail "routes: give your route table, such as --set-file routes=routes.yaml" -}}{{- end -}}
{{- if kindIs "string" .Values.routes -}}
{{- $parsed := fromYaml .Values.routes -}}
{{- if hasKey $parsed "Error" -}}{{- fail (printf "routes is not YAML: %s" (get $parsed "Error")) -}}{{- end -}}
{{ .Values.routes | trimSuffix "\n" }}
{{- else -}}{{ toYaml .Values.routes }}{{- end -}}
{{- end -}}

{{- /* Pods start again where Envoy's part may have changed. The sidecar itself reloads its files. */ -}}
{{- define "zervi-sidecar.podAnnotations" -}}
checksum/zervi-sidecar: {{ include "zervi-sidecar.config" . | sha256sum }}
{{- with .Values.envoy.bootstrap }}
checksum/envoy: {{ . | sha256sum }}
{{- end }}
{{- end -}}
