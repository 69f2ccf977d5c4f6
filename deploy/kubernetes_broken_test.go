package deploy

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestKubernetesBroken breaks the manifests in every way that matters and expects
// to be told.
func TestKubernetesBroken(t *testing.T) {
	const (
		set, service, account, budget = "statefulset.yaml", "service.yaml", "serviceaccount.yaml", "poddisruptionbudget.yaml"
		network, conf, rules, root    = "networkpolicy.yaml", "config/segmill.yaml", "rules/segments.yaml", "kustomization.yaml"
	)
	const label = "app.kubernetes.io/name: segmill"
	for _, x := range []struct {
		file, old, new string
		want           string // in what is reported
	}{
		{set, "kind: StatefulSet", "kind: Deployment", "kind apps/v1 Deployment is unknown"},
		{budget, "policy/v1", "policy/v1beta1", "unknown or there twice"},
		{set, "runAsNonRoot", "runAsNonroot", "runAsNonroot"},
		{set, "      enableServiceLinks", "      hostNetwork: true\n      enableServiceLinks", "hostNetwork"},
		{set, "            allowPrivilegeEscalation", "            privileged: true\n            allowPrivilegeEscalation", "privileged"},
		{set, "            allowPrivilegeEscalation", "            runAsUser: 0\n            allowPrivilegeEscalation", "runAsUser"},
		{set, "        - name: config\n          configMap:\n            name: segmill-config", "        - name: config\n          hostPath:\n            path: /", "hostPath"},
		{set, "drop: [ALL]", "drop: [ALL]\n              add: [SYS_ADMIN]", "add"},
		{service, "spec:", "spec:\n  type: LoadBalancer", "type"},
		{account, "automountServiceAccountToken: false", "automountServiceAccountToken: false\n---\nkind: Secret", "more than one document"},
		{root, "  - networkpolicy.yaml\n", "", "the kustomization names"},
		{root, "kind: Kustomization", "kind: Component", "the kustomization is a Component"},

		{set, "replicas: 3", "replicas: 1", "1 replicas"},
		{set, "Parallel", "OrderedReady", "podManagementPolicy"},
		{set, "  minReadySeconds: 30\n", "", "minReadySeconds is 0"},
		{set, "RollingUpdate", "OnDelete", "updateStrategy"},
		{set, "serviceName: segmill", "serviceName: other", "serviceName"},
		{set, "serviceAccountName: segmill", "serviceAccountName: default", "serviceAccountName"},
		{set, "      automountServiceAccountToken: false\n", "", "token"},
		{account, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "token"},
		{set, "enableServiceLinks: false", "enableServiceLinks: true", "variable for every service"},
		{set, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds is 5"},
		{budget, "maxUnavailable: 1", "maxUnavailable: 3", "3 pods go"},

		{set, "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
		{set, "runAsUser: 65532", "runAsUser: 0", "user 0:65532"},
		{set, "runAsUser: 65532", "runAsUser: 1000", "user 1000:65532"},
		{set, "runAsGroup: 65532", "runAsGroup: 0", "user 65532:0"},
		{set, "fsGroup: 65532", "fsGroup: 1000", "fsGroup is 1000"},
		{set, "OnRootMismatch", "Always", "fsGroupChangePolicy"},
		{set, "type: RuntimeDefault", "type: Unconfined", "seccompProfile"},
		{set, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation"},
		{set, "            allowPrivilegeEscalation: false\n", "", "allowPrivilegeEscalation"},
		{set, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"},
		{set, "drop: [ALL]", "drop: [NET_RAW]", "capabilities drop"},
		{set, "DoNotSchedule", "ScheduleAnyway", "pods are spread by"},
		{set, "topologyKey: kubernetes.io/hostname", "topologyKey: rack", "pods are spread by"},
		{set, "maxSkew: 1", "maxSkew: 2", "the spread is"},
		{set, "nodeTaintsPolicy: Honor", "nodeTaintsPolicy: Ignore", "cordoned"},

		{set, "image: segmill ", "image: segmill:latest ", "image"},
		{root, "newTag: 0.1.0", "newTag: latest", "no version"},
		{set, "              cpu: \"1\"\n", "", "no CPU request"},
		{set, "limits:\n", "limits:\n              cpu: \"2\"\n", "CPU limit"},
		{set, "limits:\n              memory: 2Gi", "limits:\n              memory: 4Gi", "GOMEMLIMIT is"},
		{set, "requests:\n              cpu: \"1\"\n              memory: 2Gi", "requests:\n              cpu: \"1\"\n              memory: 1Gi", "1Gi is requested"},
		{set, "1843MiB", "2GiB", "GOMEMLIMIT is"},
		{set, "1843MiB", "1700MiB", "GOMEMLIMIT is"},
		{set, "1843MiB", "1843Mi", "which Go does not read"},
		{set, "containerPort: 9600", "containerPort: 9601", "not exposed"},
		{set, "startupProbe:\n            httpGet: {path: /healthz", "startupProbe:\n            httpGet: {path: /readyz", "startup probe asks"},
		{set, "livenessProbe:\n            httpGet: {path: /healthz", "livenessProbe:\n            httpGet: {path: /readyz", "liveness probe asks"},
		{set, "readinessProbe:\n            httpGet: {path: /readyz", "readinessProbe:\n            httpGet: {path: /healthz", "readiness probe asks"},
		{set, "httpGet: {path: /readyz, port: http}", "httpGet: {path: /readyz, port: metrics}", "readiness probe asks"},
		{set, "failureThreshold: 120", "failureThreshold: 3", "startup probe has no patience"},
		{set, "failureThreshold: 6", "failureThreshold: 1", "liveness probe has no patience"},
		{set, "failureThreshold: 3", "failureThreshold: 30", "noticed late"},

		{set, label, "app: other", "labels of StatefulSet"},
		{set, "matchLabels:\n      " + label, "matchLabels:\n      app: other", "StatefulSet's selector"},
		{set, "labels:\n        " + label, "labels:\n        app: other", "labels of the pods"},
		{service, "selector:\n    " + label, "selector:\n    app: other", "Service's selector"},
		{budget, "matchLabels:\n      " + label, "matchLabels:\n      app: other", "budget's selector"},
		{network, "matchLabels:\n      " + label, "matchLabels:\n      app: other", "NetworkPolicy's selector"},
		{account, "name: segmill", "name: other", "called"},

		{set, "- name: state\n              mountPath", "- name: data\n              mountPath", "nothing to mount on /var/lib/segmill"},
		{set, "configMap:\n            name: segmill-rules", "configMap:\n            name: rules", "no ConfigMap"},
		{set, "            - name: rules\n              mountPath: /etc/segmill/rules\n              readOnly: true\n", "", "not mounted"},
		{set, "mountPath: /etc/segmill/rules\n              readOnly: true", "mountPath: /etc/segmill/rules", "readOnly is false"},
		{set, "mountPath: /etc/segmill/config", "mountPath: /etc/segmill", "is mounted in /etc/segmill"},
		{set, "ReadWriteOnce", "ReadWriteMany", "claim state"},
		{set, "storage: 20Gi", "storage: some", "storage"},

		{service, "clusterIP: None", "clusterIP: 10.0.0.1", "not headless"},
		{service, "publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "hides pods"},
		{service, "port: 9600", "port: 80", "the service has the ports"},
		{service, "targetPort: http", "targetPort: metrics", "the service has the ports"},
		{service, "name: segmill", "name: shop", "the alerts ask for"},
		{network, "[Ingress, Egress]", "[Ingress]", "the policy is for"},
		{network, "    - from:\n        - namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: monitoring\n      ports", "    - ports", "rule for everybody"},
		{network, "matchLabels:\n              kubernetes.io/metadata.name: kafka", "matchLabels: {}", "every namespace"},
		{network, "          podSelector:\n            matchLabels:\n              k8s-app: kube-dns\n", "", "all of kube-system"},
		{network, "      ports:\n        - {protocol: TCP, port: http}\n", "", "rule for every port"},
		{network, "port: http", "port: 8080", "needed is"},
		{network, "        - {protocol: UDP, port: 53}\n", "", "needed is"},
		{network, "port: 8081}", "port: 8081}\n        - {protocol: TCP, port: 443}", "needed is"},
		{conf, "svc:9093", "svc:9094", "needed is"},
		{conf, "registry.kafka.svc", "registry.schemas.svc", "needed is"},

		{conf, "app: shop", "apps: shop", "configuration"},
		{conf, "KAFKA_PASSWORD", "PASSWORD", "PASSWORD is not set"},
		{set, "KAFKA_PASSWORD", "KAFKA_PASS", "KAFKA_PASSWORD is not set"},
		{conf, "${KAFKA_PASSWORD}", "hunter2", "nothing reads KAFKA_PASSWORD"},
		{set, "key: password", "key: user", "KAFKA_PASSWORD is"},
		{conf, "  tls: {}\n", "", "no TLS"},
		{conf, "standby: 1", "standby: 3", "standby is 3"},
		{conf, ":9600", "127.0.0.1:9600", "can't reach"},
		{conf, ":9600", ":9700", "http is"},
		{conf, "/var/lib/segmill/state", "/var/lib/segmill", "below the volume"},
		{conf, "/var/lib/segmill/state", "/data/state", "below the volume"},
		{set, "mountPath: /var/lib/segmill", "mountPath: /data", "the state is mounted on"},
		{set, "config/segmill.yaml,", "segmill.yaml,", "args are"},
		{conf, "[../rules]", "[rules]", "rules are"},
		{rules, "count(purchase", "count(sale", "rule files"},
		{root, "rules/segments.yaml", "config/segmill.yaml", "rule files"},
	} {
		files := manifests(t)
		text := string(files[x.file].Data)
		broken := strings.Replace(text, x.old, x.new, 1)
		if broken == text {
			t.Errorf("%s does not have %q any more", x.file, x.old)
			continue
		}
		files[x.file].Data = []byte(broken)
		if got := strings.Join(checkKubernetes(files), "\n"); !strings.Contains(got, x.want) {
			t.Errorf("%s with %q: got %q, want %q", x.file, x.new, got, x.want)
		}
	}
}

// manifests returns a copy of the directory.
func manifests(t *testing.T) fstest.MapFS {
	t.Helper()
	files, dir := fstest.MapFS{}, os.DirFS("kubernetes")
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(dir, path)
		files[path] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
