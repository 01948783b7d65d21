{{/* Names that several templates say, each said here once, so that accounts and policies cannot part. */}}

{{- define "dockseal.controller" -}}dockseal-controller{{- end }}
{{- define "dockseal.companion" -}}dockseal-companion{{- end }}
{{- define "dockseal.mint" -}}dockseal-companion-mint{{- end }}

{{/* The namespace of the companions' accounts: their own, since policies know them by it. */}}
{{- define "dockseal.companions" -}}
{{- $name := required "companion.namespace is empty: it names the namespace of the companions' accounts" .Values.companion.namespace -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) }}
{{- fail (printf "companion.namespace: %q is not the name of a namespace" $name) }}
{{- end }}
{{- if eq $name .Release.Namespace }}
{{- fail (printf "companion.namespace is the release's own namespace, %s: companions need a namespace of their own" $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* How the API server calls an account of the companions' namespace; the account's name follows. */}}
{{- define "dockseal.companionUser" -}}system:serviceaccount:{{ include "dockseal.companions" . }}:{{- end }}
{{- define "dockseal.controllerUser" -}}system:serviceaccount:{{ .Release.Namespace }}:{{ include "dockseal.controller" . }}{{- end }}

{{/* The directories below which nodes are written, as a JSON list, once they are known to be such. */}}
{{- define "dockseal.directories" -}}
{{- range .Values.companion.directories }}
{{- if or (not (regexMatch `^(/[^/,:'"\\\s]+)+$` .)) (regexMatch "/[.]{1,2}(/|$)" .) }}
{{- fail (printf "companion.directories: %q is not a directory to deliver to: give an absolute path below /, without spaces, quotes, commas, colons, //, . or .., and without a slash at its end" .) }}
{{- end }}
{{- if regexMatch "^/(run/dbus|var/lib/dockseal|var/run/secrets)(/|$)" . }}
{{- fail (printf "companion.directories: %q is where the companion has what is its own: give another one" .) }}
{{- end }}
{{- end }}
{{- .Values.companion.directories | uniq | toJson }}
{{- end }}

{{/* The namespaces from which nodes are delivered to, as a JSON list, likewise. */}}
{{- define "dockseal.sources" -}}
{{- range .Values.companion.namespaces }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) }}
{{- fail (printf "companion.namespaces: %q is not the name of a namespace" .) }}
{{- end }}
{{- end }}
{{- .Values.companion.namespaces | default list | uniq | toJson }}
{{- end }}

{{/* Not empty where companions share their node's network. */}}
{{- define "dockseal.hostNetwork" -}}
{{- with .Values.companion }}
{{- if and .enabled (kindIs "invalid" .hostNetwork | ternary (eq .profile "daemon") .hostNetwork) }}true{{ end }}
{{- end }}
{{- end }}

{{- define "dockseal.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Labels of an object. */}}
{{- define "dockseal.labels" -}}
app.kubernetes.io/name: dockseal
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels by which pods are selected: those never change. Takes the component. */}}
{{- define "dockseal.selector" -}}
app.kubernetes.io/name: dockseal
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* A pod's token at its usual place. Said outright: the one that Kubernetes mounts by itself lives for a year. */}}
{{- define "dockseal.tokenVolume" -}}
- name: token
  projected:
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}
{{- define "dockseal.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* Labels of a pod: further ones never replace those by which it is selected. Takes the component and the further ones. */}}
{{- define "dockseal.podLabels" -}}
{{- toYaml (merge (include "dockseal.selector" (first .) | fromYaml) (last . | default dict)) }}
{{- end }}

{{/* Labels of a monitor: ours, and over them those by which a Prometheus selects it. Takes the root and the latter. */}}
{{- define "dockseal.monitorLabels" -}}
{{- toYaml (merge (dict) (last . | default dict) (include "dockseal.labels" (first .) | fromYaml)) }}
{{- end }}

{{/* What an endpoint of a monitor has beside its port. Takes the monitor's values. */}}
{{- define "dockseal.scrape" -}}
path: /metrics
{{- /* The namespace of a metric is its object's: without this Prometheus puts the pod's in its place. */}}
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}

{{/* Whom a pod may talk to: DNS, anybody on those TCP ports, and on further ones those networks, if any are listed. Takes
the policy's values, the ports, the further ports and the networks. */}}
{{- define "dockseal.egress" -}}
{{- $policy := index . 0 }}
- ports:
  {{- range $policy.dnsPorts | uniq }}
  - {protocol: UDP, port: {{ int . }}}
  - {protocol: TCP, port: {{ int . }}}
  {{- end }}
- ports:
  {{- range index . 1 | uniq }}
  - {protocol: TCP, port: {{ int . }}}
  {{- end }}
- ports:
  {{- range index . 2 | uniq }}
  - {protocol: TCP, port: {{ int . }}}
  {{- end }}
  {{- with index . 3 }}
  to:
  {{- range . }}
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "dockseal.logArgs" -}}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
{{- end }}

{{/* Where a pod may run, but for its nodeSelector. Takes the component's values. */}}
{{- define "dockseal.placing" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "dockseal.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
