{{- define "zervi-sidecar.name" -}}
{{- default "zervi-sidecar" .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of every object. In mode `sidecar` it is also what the pod's volumes refer to. */ -}}
{{- define "zervi-sidecar.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "zervi-sidecar.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "zervi-sidecar.selector" -}}
app.kubernetes.io/name: {{ include "zervi-sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "zervi-sidecar.labels" -}}
{{ include "zervi-sidecar.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.mode }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
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
