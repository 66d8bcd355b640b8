{{- define "kas.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kas.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kas.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "kas.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "kas.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kas.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kas.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}


{{- define "kas.gitserver" -}}
{{- printf "%s-gitserver" (include "kas.fullname" . | trunc 53) -}}
{{- end -}}

{{- define "kas.redis" -}}
{{- printf "%s-redis" (include "kas.fullname" . | trunc 57) -}}
{{- end -}}

{{- /* Whether replicas share a Redis and call each other. */ -}}
{{- define "kas.hasRedis" -}}
{{- if or .Values.redis.bundled.enabled .Values.config.redis -}}true{{- end -}}
{{- end -}}

{{- define "kas.privateApiSecret" -}}
{{- default (printf "%s-private-api" (include "kas.fullname" .)) .Values.privateApiSecret.existingSecret -}}
{{- end -}}

{{- define "kas.apiSecret" -}}
{{- default (printf "%s-api" (include "kas.fullname" .)) .Values.apiSecret.existingSecret -}}
{{- end -}}

{{- define "kas.gitalySecret" -}}
{{- default (printf "%s-gitaly" (include "kas.fullname" .)) .Values.gitserver.tokenSecret.existingSecret -}}
{{- end -}}

{{- /* The port at the end of an address. */ -}}
{{- define "kas.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{- /* kas.yaml as a mapping: what the chart knows, under what `config` says. */ -}}
{{- define "kas.config" -}}
{{- $agents := dict "address" ":8150" -}}
{{- $api := dict "address" ":8153" "authentication_secret_file" (printf "/etc/kas/secrets/api/%s" .Values.apiSecret.key) -}}
{{- if .Values.tls.agents.secretName -}}
{{- $_ := set $agents "certificate_file" "/etc/kas/tls/agents/tls.crt" -}}
{{- $_ := set $agents "key_file" "/etc/kas/tls/agents/tls.key" -}}
{{- end -}}
{{- if .Values.tls.api.secretName -}}
{{- $_ := set $api "certificate_file" "/etc/kas/tls/api/tls.crt" -}}
{{- $_ := set $api "key_file" "/etc/kas/tls/api/tls.key" -}}
{{- end -}}
{{- $chart := dict
  "agent" (dict "listen" $agents "gitops" (dict "overrides_file" "/var/lib/kas/unit-overrides.json"))
  "observability" (dict "listen" (dict "address" ":8151"))
  "api" (dict "listen" $api)
-}}
{{- if not .Values.config.gitlab -}}
{{- $_ := set $chart "registry" (dict "file" "/etc/kas/config/registry.yaml") -}}
{{- end -}}
{{- if hasKey (default (dict) .Values.config.agent) "kubernetes_api" -}}
{{- $_ := set $chart.agent "kubernetes_api" (dict "listen" (dict "address" ":8154")) -}}
{{- end -}}
{{- if hasKey (default (dict) .Values.config.live_changes) "cable" -}}
{{- $_ := set $chart "live_changes" (dict "cable" (dict "listen" (dict "address" ":8156"))) -}}
{{- end -}}
{{- if .Values.config.webhooks -}}
{{- $_ := set $chart "webhooks" (dict "listen" (dict "address" ":8157")) -}}
{{- end -}}
{{- if .Values.redis.bundled.enabled -}}
{{- $server := dict "address" (printf "%s:6379" (include "kas.redis" .)) -}}
{{- $_ := set $chart "redis" (dict "server" $server "password_file" "/etc/kas/secrets/redis/password") -}}
{{- end -}}
{{- if include "kas.hasRedis" . -}}
{{- $secret := printf "/etc/kas/secrets/private-api/%s" .Values.privateApiSecret.key -}}
{{- $_ := set $chart "private_api" (dict "listen" (dict "address" ":8155" "authentication_secret_file" $secret)) -}}
{{- end -}}
{{- mustMergeOverwrite $chart (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{- /* Ports beside those that kas always has, by name; call with kas.config. */ -}}
{{- define "kas.otherPorts" -}}
{{- with .agent.kubernetes_api }}
kubernetes-api: {{ include "kas.port" .listen.address }}
{{- end }}
{{- with (default (dict) .live_changes).cable }}
cable: {{ include "kas.port" .listen.address }}
{{- end }}
{{- with .webhooks }}
webhooks: {{ include "kas.port" .listen.address }}
{{- end }}
{{- end -}}

{{- /* Whether kas writes to a volume: with Redis nothing but the agent tokens of a standalone kas. */ -}}
{{- define "kas.writes" -}}
{{- $elsewhere := or .Values.config.gitlab .Values.agentTokens.existingSecret -}}
{{- if not (and (include "kas.hasRedis" .) $elsewhere) -}}true{{- end -}}
{{- end -}}

{{- define "kas.hasClaim" -}}
{{- if and .Values.persistence.enabled (include "kas.writes" .) -}}true{{- end -}}
{{- end -}}

{{- /* registry.yaml as a mapping. */ -}}
{{- define "kas.registry" -}}
{{- $tokens := .Values.agentTokens.existingSecret | empty | ternary "/var/lib/kas/agent-tokens.json" "/etc/kas/secrets/agent-tokens/agent-tokens.json" -}}
{{- $chart := dict "agent_tokens_file" $tokens -}}
{{- if .Values.gitserver.enabled -}}
{{- $server := include "kas.gitserverConfig" . | fromYaml -}}
{{- $address := printf "tcp://%s:%s" (include "kas.gitserver" .) (include "kas.port" $server.listen.grpc) -}}
{{- $token := printf "/etc/kas/secrets/gitaly/%s" .Values.gitserver.tokenSecret.key -}}
{{- $_ := set $chart "gitaly_servers" (dict "default" (dict "address" $address "token_file" $token)) -}}
{{- end -}}
{{- mustMergeOverwrite $chart (deepCopy .Values.registry) | toYaml -}}
{{- end -}}

{{- /* gitserver.yaml as a mapping. */ -}}
{{- define "kas.gitserverConfig" -}}
{{- $kas := include "kas.config" . | fromYaml -}}
{{- $chart := dict
  "listen" (dict "grpc" ":8075" "http" ":8090")
  "storages" (list (dict "name" "default" "path" "/var/lib/kas-gitserver/repositories"))
  "token_file" (printf "/etc/kas/secrets/gitaly/%s" .Values.gitserver.tokenSecret.key)
  "push_tokens_file" "/var/lib/kas-gitserver/push-tokens.json"
-}}
{{- if not .Values.tls.api.secretName -}}
{{- $address := printf "grpc://%s:%s" (include "kas.fullname" .) (include "kas.port" $kas.api.listen.address) -}}
{{- $_ := set $chart "notify" (dict "address" $address "secret_file" (printf "/etc/kas/secrets/api/%s" .Values.apiSecret.key)) -}}
{{- end -}}
{{- mustMergeOverwrite $chart (deepCopy .Values.gitserver.config) | toYaml -}}
{{- end -}}

{{- define "kas.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# Repositories may be many: their owner is set once.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "kas.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A secret that was made once stays, as far as the cluster can be asked. Call with a dict of root, name, key and a new value. */ -}}
{{- define "kas.keptSecret" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .name -}}
{{- $data := default (dict) (default (dict) $found).data -}}
{{- hasKey $data .key | ternary (index $data .key) (b64enc .value) -}}
{{- end -}}

{{- define "kas.check" -}}
{{- $values := .Values -}}
{{- $several := or $values.autoscaling.enabled (gt (int $values.replicas) 1) -}}
{{- if and $several (not (include "kas.hasRedis" .)) -}}
{{- fail "replicas: more than one need a Redis that they share; set config.redis, or redis.bundled.enabled for a trial" -}}
{{- end -}}
{{- if and $values.redis.bundled.enabled $values.config.redis -}}
{{- fail "redis.bundled.enabled: config.redis names another Redis; keep one" -}}
{{- end -}}
{{- if and $values.config.gitlab (or $values.registry.agents $values.registry.projects) -}}
{{- fail "registry: agents and projects come from GitLab, by config.gitlab; remove one of the two" -}}
{{- end -}}
{{- if and $values.gitserver.enabled $values.gitserver.ingress.enabled (not $values.gitserver.ingress.host) -}}
{{- fail "gitserver.ingress.host: is empty; name the host that git clients use" -}}
{{- end -}}
{{- $config := include "kas.config" . | fromYaml -}}
{{- $ports := include "kas.otherPorts" $config | fromYaml -}}
{{- range $name, $port := dict "grpc" "agents" "webSocket" "agents" "kubernetesApi" "kubernetes-api" "cable" "cable" "webhooks" "webhooks" -}}
{{- $ingress := index $values.ingress $name -}}
{{- if and $ingress.enabled (not $ingress.host) -}}
{{- fail (printf "ingress.%s.host: is empty; name the host that clients connect to" $name) -}}
{{- end -}}
{{- if and $ingress.enabled (ne $port "agents") (not (hasKey $ports $port)) -}}
{{- fail (printf "ingress.%s.enabled: kas listens to nothing of the kind; see config in values.yaml" $name) -}}
{{- end -}}
{{- end -}}
{{- $shared := and $values.persistence.enabled (or $values.persistence.existingClaim (has "ReadWriteMany" $values.persistence.accessModes)) -}}
{{- if and $several (include "kas.writes" .) (not $shared) -}}
{{- fail "agentTokens.existingSecret: is empty; several replicas need the agent tokens from a Secret, or on a volume that all can have (persistence.accessModes: [ReadWriteMany])" -}}
{{- end -}}
{{- end -}}
