{{/* Values that contradict each other: a sentence that says what to do. Types and unknown names are the schema's. */}}

{{- define "dockseal.validate" -}}
{{- with .Values.image.digest }}
{{- if not (regexMatch "^sha256:[0-9a-f]{64}$" .) }}
{{- fail (printf "image.digest is %q: give sha256: and 64 lower-case hexadecimal digits, or leave it empty and give image.tag" .) }}
{{- end }}
{{- end }}
{{- if not .Values.image.repository }}
{{- fail "image.repository is empty: give the name of the image, like dockseal" }}
{{- end }}
{{- $replicas := int .Values.controller.replicas }}
{{- if lt $replicas 1 }}
{{- fail (printf "controller.replicas is %d: nobody would issue and renew; give 1 or more, or uninstall the chart, which keeps Secrets and objects" $replicas) }}
{{- end }}
{{- if not .Values.controller.allowedDestinations }}
{{- fail "controller.allowedDestinations is empty: no Portainer could be reached; list networks like 192.168.0.0/16, or leave it out for all" }}
{{- end }}
{{- with .Values.controller.podDisruptionBudget }}
{{- if .enabled }}
{{- $minimum := not (kindIs "invalid" .minAvailable) }}
{{- if eq $minimum (not (kindIs "invalid" .maxUnavailable)) }}
{{- fail "controller.podDisruptionBudget needs either maxUnavailable or minAvailable: set the other one to null" }}
{{- end }}
{{- if $minimum }}
{{- $all := ternary (eq (toString .minAvailable) "100%") (ge (int .minAvailable) $replicas) (kindIs "string" .minAvailable) }}
{{- if $all }}
{{- fail (printf "controller.podDisruptionBudget.minAvailable is %v of %d replicas: no node with one could ever be drained; give less, or more controller.replicas" .minAvailable $replicas) }}
{{- end }}
{{- else if has (toString .maxUnavailable) (list "0" "0%") }}
{{- fail "controller.podDisruptionBudget.maxUnavailable is 0: no node with a replica could ever be drained; give 1 or more" }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.companion }}
{{- if and .enabled (not .directories) }}
{{- fail "companion.directories is empty, and companion.enabled is true: there is nowhere to deliver to; list a directory like /etc/docker/certs, or set companion.enabled to false" }}
{{- end }}
{{- if and (eq .profile "daemon") (not .enabled) }}
{{- fail "companion.profile is daemon, and companion.enabled is false: nothing runs that could work on dockerd; enable the companion, or leave the profile out" }}
{{- end }}
{{- if and .portainer.enabled (not .enabled) }}
{{- fail "companion.portainer.enabled lets the companions of nodes register in Portainer, and companion.enabled is false: enable the companion, or leave it to the controller (companion.portainer.enabled: false)" }}
{{- end }}
{{- if and .namespaces (not .enabled) }}
{{- fail "companion.namespaces lists who is delivered to nodes, and companion.enabled is false: nothing would deliver; enable the companion, or empty the list" }}
{{- end }}
{{- if not .audiences }}
{{- fail "companion.audiences is empty: every token of a companion would be refused; list the API server's audiences" }}
{{- end }}
{{- if has (toString .maxUnavailable) (list "0" "0%") }}
{{- fail "companion.maxUnavailable is 0: no upgrade would ever go on, since two companions on one node would both write; give 1 or more" }}
{{- end }}
{{- end }}
{{- if and .Values.prometheus.serviceMonitor.enabled .Values.prometheus.podMonitor.enabled }}
{{- fail "prometheus.serviceMonitor and prometheus.podMonitor are both enabled: every replica would be asked twice, and every alert counted twice; disable one of them" }}
{{- end }}
{{- if .Values.networkPolicy.enabled }}
{{- range $list := list "dnsPorts" "apiServerPorts" "dockerPorts" "portainerPorts" }}
{{- if not (index $.Values.networkPolicy $list) }}
{{- fail (printf "networkPolicy.%s is empty, which a NetworkPolicy reads as every port: list the ports, or set networkPolicy.enabled to false" $list) }}
{{- end }}
{{- end }}
{{- end }}
{{- include "dockseal.validateExtra" (dict "at" "controller" "values" .Values.controller "said" (dict
      "--allowed-destination" "controller.allowedDestinations"
      "--admin-address" "controller.service.port for the Service"
      "--companion-directory" "companion.directories"
      "--companion-namespace" "companion.namespace"
      "--companion-portainer" "companion.portainer.enabled"
      "--companion-source-namespace" "companion.namespaces"
      "--lease-namespace" "the release's namespace"
      "--log-format" "log.format"
      "--log-level" "log.level")) }}
{{- include "dockseal.validateExtra" (dict "at" "companion" "values" .Values.companion "said" (dict
      "--directory" "companion.directories"
      "--log-format" "log.format"
      "--log-level" "log.level"
      "--namespace" "companion.namespace"
      "--node" "companion.nodeSelector"
      "--source-namespace" "companion.namespaces")) }}
{{- end }}

{{/* Arguments and variables that the chart says itself: said twice, they end the program or win over policies. */}}
{{- define "dockseal.validateExtra" -}}
{{- $at := .at }}
{{- $said := .said }}
{{- range .values.extraArgs }}
{{- $flag := first (splitList "=" .) }}
{{- if hasKey $said $flag }}
{{- fail (printf "%s.extraArgs: %s is set by the chart: use %s" $at $flag (get $said $flag)) }}
{{- end }}
{{- end }}
{{- range .values.extraEnv }}
{{- if has .name (list "NODE_NAME" "NODE_ADDRESS" "DOCKSEAL_ADMIN_ADDRESS") }}
{{- fail (printf "%s.extraEnv: %s is set by the chart: leave it out" $at .name) }}
{{- end }}
{{- end }}
{{- end }}
