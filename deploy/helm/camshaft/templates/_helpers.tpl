{{- define "camshaft.selector" -}}
app.kubernetes.io/name: camshaft
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "camshaft.image" -}}
{{- $tag := kindIs "invalid" .Values.image.tag | ternary .Chart.AppVersion .Values.image.tag -}}
{{ .Values.image.repository }}{{ with $tag }}:{{ . }}{{ end }}
{{- end }}

{{/* What the check and the service have in common. */}}
{{- define "camshaft.container" -}}
{{- $from := .Values.gpu.from -}}
image: {{ include "camshaft.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - secretRef:
      name: {{ .Values.secretName }}
      optional: true
{{- if or .Values.severalNodes.enabled .Values.env }}
env:
  {{- if .Values.severalNodes.enabled }}
  - name: CAMSHAFT_SERVER_NODE
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- $resources := deepCopy .Values.resources }}
{{- if has $from (list "i915" "xe") }}
{{- $resources = merge (dict "limits" (dict (printf "gpu.intel.com/%s" $from) 1)) $resources }}
{{- else if eq $from "dra" }}
{{- $resources = merge (dict "claims" (list (dict "name" "gpu"))) $resources }}
{{- end }}
resources:
  {{- toYaml $resources | nindent 2 }}
securityContext:
  {{- if eq $from "hostpath-privileged" }}
  privileged: true
  readOnlyRootFilesystem: true
  {{- else }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  {{- end }}
volumeMounts:
  - name: config
    mountPath: /etc/camshaft
    readOnly: true
  - name: tmp
    mountPath: /tmp
  - name: access
    mountPath: /run/secrets/camshaft
    readOnly: true
  {{- if eq $from "hostpath-privileged" }}
  - name: render-node
    mountPath: /dev/dri/renderD128
  {{- end }}
{{- end }}
