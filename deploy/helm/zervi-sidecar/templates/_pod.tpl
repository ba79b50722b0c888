{{- define "zervi-sidecar.containerSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "zervi-sidecar.env" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Ends before anything starts: prints Envoy's configuration for this sidecar.yaml, or examines the one that you gave. */ -}}
{{- define "zervi-sidecar.init" -}}
- name: zervi-envoy-config
  image: {{ include "zervi-sidecar.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if .Values.envoy.bootstrap }}
  args: [doctor, /etc/envoy-config/envoy.yaml, --config, /etc/zervi/sidecar.yaml] # SAFETY: an unsafe bootstrap does not start
  {{- else }}
  args:
    - generate
    - envoy
    - --config=/etc/zervi/sidecar.yaml
    - --mode={{ .Values.mode }}
    - --admin=/run/envoy/admin.sock
    - --stats=0.0.0.0:9901
    {{- if and (eq .Values.mode "sidecar") .Values.upstream }}
    - {{ printf "--upstream=%s" .Values.upstream | quote }}
    {{- end }}
    {{- if .Values.envoy.tlsSecret }}
    - --tls=/etc/envoy/tls
    {{- end }}
    - --output=/etc/envoy-config/envoy.yaml
  {{- end }}
  env:
    {{- include "zervi-sidecar.env" . | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- include "zervi-sidecar.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: zervi-config, mountPath: /etc/zervi, readOnly: true}
    - {name: envoy-config, mountPath: /etc/envoy-config{{ if .Values.envoy.bootstrap }}, readOnly: true{{ end }}}
{{- end -}}

{{- define "zervi-sidecar.sidecar" -}}
- name: zervi-sidecar
  image: {{ include "zervi-sidecar.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if include "zervi-sidecar.native" . }}
  restartPolicy: Always
  {{- end }}
  args: [serve, --config, /etc/zervi/sidecar.yaml]
  env:
    {{- include "zervi-sidecar.env" . | nindent 4 }}
  ports:
    - {name: zervi-ops, containerPort: 9002}
    - {name: zervi-health, containerPort: 9003}
  startupProbe: # liveness is enough: waiting for keys here would block the start of the whole pod
    grpc: {port: 9003, service: liveness}
    periodSeconds: 1
    failureThreshold: 30
  livenessProbe: # does not fail if the issuer is down, because a restart would not help
    grpc: {port: 9003, service: liveness}
    periodSeconds: 10
    timeoutSeconds: 3
  readinessProbe: # a policy is loaded and an issuer has keys
    grpc: {port: 9003}
    periodSeconds: 5
    timeoutSeconds: 2
  lifecycle:
    preStop: # leaves the registry as soon as the pod begins to end, and answers until Envoy has ended
      exec: {command: [/opt/zervi/bin/zervi-sidecar, leave, --wait, {{ .Values.leaveSeconds }}s]}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- include "zervi-sidecar.containerSecurity" . | nindent 4 }}
  volumeMounts: # whole directories, which follow a changed ConfigMap; with subPath they would not
    - {name: zervi-config, mountPath: /etc/zervi, readOnly: true}
    {{- if .Values.existingSecret }}
    - {name: zervi-secrets, mountPath: /etc/zervi-secrets, readOnly: true} # SAFETY: only in this container
    {{- end }}
    - {name: zervi-run, mountPath: /run/zervi}
    - {name: zervi-admin, mountPath: /run/zervi-admin} # SAFETY: only in this container
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "zervi-sidecar.envoy" -}}
- name: envoy
  image: {{ include "zervi-sidecar.envoyImage" . | quote }}
  imagePullPolicy: {{ .Values.envoy.image.pullPolicy }}
  {{- if and (include "zervi-sidecar.native" .) (eq .Values.mode "sidecar") }}
  restartPolicy: Always
  {{- end }}
  args: [--config-path, /etc/envoy-config/envoy.yaml, --disable-hot-restart, --concurrency, {{ .Values.envoy.concurrency | quote }}, --log-level, warning]
  ports:
    - {name: http, containerPort: {{ include "zervi-sidecar.port" . }}}
    - {name: envoy-stats, containerPort: 9901}
  startupProbe:
    httpGet: {path: /ready, port: envoy-stats}
    periodSeconds: 1
    failureThreshold: 30
  livenessProbe:
    tcpSocket: {port: http}
    periodSeconds: 10
  readinessProbe:
    httpGet: {path: /ready, port: envoy-stats}
    periodSeconds: 5
  {{- if or (not (include "zervi-sidecar.native" .)) (eq .Values.mode "gateway") }}
  lifecycle:
    preStop: # until clients no longer use this pod
      {{- include "zervi-sidecar.sleep" . | nindent 6 }}
  {{- end }}
  resources:
    {{- toYaml .Values.envoy.resources | nindent 4 }}
  securityContext:
    {{- include "zervi-sidecar.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: envoy-config, mountPath: /etc/envoy-config, readOnly: true}
    - {name: zervi-run, mountPath: /run/zervi, readOnly: true}
    - {name: envoy-run, mountPath: /run/envoy} # SAFETY: the admin socket; only in this container
    {{- if .Values.envoy.tlsSecret }}
    - {name: envoy-tls, mountPath: /etc/envoy/tls, readOnly: true}
    {{- end }}
    {{- if .Values.envoy.targetsSecret }}
    - {name: envoy-targets, mountPath: /etc/envoy/targets, readOnly: true}
    {{- end }}
{{- end -}}

{{- /* For `initContainers` of a pod. With native sidecars all of Envoy and the sidecar is here: they start before the
     containers and stop after them. */ -}}
{{- define "zervi-sidecar.initContainers" -}}
{{ include "zervi-sidecar.init" . }}
{{- if include "zervi-sidecar.native" . }}
{{ include "zervi-sidecar.sidecar" . }}
{{- if eq .Values.mode "sidecar" }}
{{ include "zervi-sidecar.envoy" . }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* For `containers` of a pod: nothing in mode `sidecar` where the cluster has native sidecars. */ -}}
{{- define "zervi-sidecar.containers" -}}
{{- if not (include "zervi-sidecar.native" .) -}}
{{ include "zervi-sidecar.sidecar" . }}
{{ include "zervi-sidecar.envoy" . }}
{{- else if eq .Values.mode "gateway" -}}
{{ include "zervi-sidecar.envoy" . }}
{{- end -}}
{{- end -}}

{{- define "zervi-sidecar.volumes" -}}
- name: zervi-config
  configMap: {name: {{ include "zervi-sidecar.fullname" . | quote }}}
{{- with .Values.existingSecret }}
- name: zervi-secrets
  secret: {secretName: {{ . | quote }}, defaultMode: 0440} # read by fsGroup: root owns the files
{{- end }}
- name: zervi-run # SAFETY: only for Envoy and the sidecar; a process that writes here could answer instead of the sidecar
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
- name: zervi-admin # SAFETY: only for the sidecar; a process that writes here could answer `leave` and `promote` instead
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: envoy-config
  {{- if .Values.envoy.bootstrap }}
  configMap: {name: {{ include "zervi-sidecar.fullname" . }}-envoy}
  {{- else }}
  emptyDir: {medium: Memory, sizeLimit: 1Mi} # SAFETY: only the init container writes
  {{- end }}
- name: envoy-run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- with .Values.envoy.tlsSecret }}
- name: envoy-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.envoy.targetsSecret }}
- name: envoy-targets
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* For a pod's `securityContext`: Envoy may connect to the sidecar's socket, which is 0660. */ -}}
{{- define "zervi-sidecar.podSecurityContext" -}}
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
