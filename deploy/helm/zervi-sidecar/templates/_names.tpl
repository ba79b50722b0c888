{{- /* A name that a Service and a label may have: a DNS label (RFC 1123). A release's name may have dots. */ -}}
{{- define "zervi-sidecar.label" -}}
{{- . | replace "." "-" | trunc 63 | trimAll "-" -}}
{{- end -}}

{{- define "zervi-sidecar.name" -}}
{{- include "zervi-sidecar.label" (default "zervi-sidecar" .Values.nameOverride) -}}
{{- end -}}

{{- /* The name of every object. In mode `sidecar` it is also what the pod's volumes refer to. */ -}}
{{- define "zervi-sidecar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- include "zervi-sidecar.label" .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "zervi-sidecar.name" . -}}
{{- if contains $name .Release.Name -}}
{{- include "zervi-sidecar.label" .Release.Name -}}
{{- else -}}
{{- include "zervi-sidecar.label" (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "zervi-sidecar.selector" -}}
app.kubernetes.io/name: {{ include "zervi-sidecar.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "zervi-sidecar.labels" -}}
{{ include "zervi-sidecar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.mode }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* The labels of the pod of `helm test`, which no Service chooses. */ -}}
{{- define "zervi-sidecar.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "zervi-sidecar.name" . | trunc 58 | trimSuffix "-") | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* The chart's labels with those of a value, which may replace them: `(list . .Values.podMonitor.labels)`. */ -}}
{{- define "zervi-sidecar.labelsWith" -}}
{{- $own := include "zervi-sidecar.labels" (first .) | fromYaml -}}
{{ toYaml (merge (deepCopy (last .)) $own) }}
{{- end -}}

{{- /* The labels of the pods that have Envoy and the sidecar: the chart's own, or those of your Deployment. */ -}}
{{- define "zervi-sidecar.podLabels" -}}
{{- if eq .Values.mode "gateway" -}}
{{ include "zervi-sidecar.selector" . }}
{{- else -}}
{{- if not .Values.workloadLabels -}}{{- fail "workloadLabels: name the labels of your Deployment's pods, for the NetworkPolicy and the PodMonitor" -}}{{- end -}}
{{ toYaml .Values.workloadLabels }}
{{- end -}}
{{- end -}}

{{- define "zervi-sidecar.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}
{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* An ordinary container of Envoy waits in its preStop with a program, which the distroless image lacks. */ -}}
{{- define "zervi-sidecar.envoyImage" -}}
{{- with .Values.envoy.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}
{{- else if .tag -}}{{ .repository }}:{{ .tag }}
{{- else -}}{{ .repository }}:{{ if include "zervi-sidecar.sleeps" $ }}distroless-{{ end }}v1.40.0{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Not empty where the cluster has native sidecars: on by default since Kubernetes 1.29. */ -}}
{{- define "zervi-sidecar.native" -}}
{{- if eq .Values.nativeSidecars "always" -}}true
{{- else if and (eq .Values.nativeSidecars "auto") (semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version) -}}true
{{- end -}}
{{- end -}}

{{- /* Not empty where a preStop can sleep: on by default since Kubernetes 1.30. */ -}}
{{- define "zervi-sidecar.sleeps" -}}
{{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version -}}true{{- end -}}
{{- end -}}

{{- define "zervi-sidecar.sleep" -}}
{{- if include "zervi-sidecar.sleeps" . -}}
sleep: {seconds: {{ .Values.leaveSeconds }}}
{{- else -}}
exec: {command: [sleep, {{ .Values.leaveSeconds | quote }}]}
{{- end -}}
{{- end -}}
