{{- define "agentk.fullname" -}}
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

{{- define "agentk.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agentk.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "agentk.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "agentk.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "agentk.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "agentk.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "agentk.tokenSecret" -}}
{{- default (printf "%s-token" (include "agentk.fullname" .)) .Values.token.existingSecret -}}
{{- end -}}

{{- define "agentk.leaseName" -}}
{{- default (include "agentk.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- /* Whether authorities of one's own are mounted. */ -}}
{{- define "agentk.hasCa" -}}
{{- with .Values.kas.ca -}}{{- if or .pem .configMap .secret -}}true{{- end -}}{{- end -}}
{{- end -}}

{{- define "agentk.check" -}}
{{- $values := .Values -}}
{{- if and (not $values.token.existingSecret) (not $values.token.value) -}}
{{- fail "token: set token.existingSecret to a Secret with the agent's token, or token.value to the token that `kas token create` printed" -}}
{{- end -}}
{{- if and $values.token.existingSecret $values.token.value -}}
{{- fail "token: token.existingSecret and token.value are both set; remove one" -}}
{{- end -}}
{{- $sources := list -}}
{{- range $name := list "pem" "configMap" "secret" -}}
{{- if index $values.kas.ca $name -}}{{- $sources = append $sources $name -}}{{- end -}}
{{- end -}}
{{- if gt (len $sources) 1 -}}
{{- fail (printf "kas.ca: %s are set; keep one" (join " and " $sources)) -}}
{{- end -}}
{{- if and $values.rbac.create (has $values.rbac.mode (list "namespaced" "impersonation")) (empty $values.rbac.namespaces) -}}
{{- fail (printf "rbac.namespaces: is empty; with rbac.mode %s name the namespaces agentk works in" $values.rbac.mode) -}}
{{- end -}}
{{- if and $values.rbac.create (eq $values.rbac.mode "impersonation") (empty $values.rbac.serviceAccounts) -}}
{{- fail "rbac.serviceAccounts: is empty; with rbac.mode impersonation name the service accounts that units act as" -}}
{{- end -}}
{{- end -}}

{{- /* Of objects without a namespace: releases of one name in two namespaces must not meet. */ -}}
{{- define "agentk.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "agentk.fullname" .) -}}
{{- end -}}

{{- define "agentk.subjects" -}}
- kind: ServiceAccount
  name: {{ include "agentk.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* Call with a dict of `root` and `verbs`: the rules for what is deployed. */ -}}
{{- define "agentk.workloadRules" -}}
{{- range .root.Values.rbac.workloadRules }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: {{ toJson $.verbs }}
{{- end }}
# Which pod holds a workload up.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- with .root.Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
