package deploy

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
)

// pod checks how pods are started, updated, spread and stopped, and what they may
// do.
func (p *problems) pod(b *bundle) {
	s, pod := b.set.Spec, b.set.Spec.Template.Spec
	p.unless(b.kustomization.Kind == "Kustomization" && b.kustomization.APIVersion == "kustomize.config.k8s.io/v1beta1", "the kustomization is a %s", b.kustomization.Kind)
	p.unless(s.Replicas > 1, "there are %d replicas", s.Replicas)
	p.unless(s.Management == "Parallel", "podManagementPolicy is %q: a pod that restores would keep the others from starting", s.Management)
	p.unless(s.MinReady >= 20 && s.MinReady <= 120, "minReadySeconds is %d: an update goes on before the pod has partitions", s.MinReady)
	p.unless(s.Update.Type == "RollingUpdate", "updateStrategy is %q", s.Update.Type)
	p.unless(s.ServiceName == b.service.Metadata.Name, "serviceName is %q", s.ServiceName)
	p.unless(pod.Account == b.account.Metadata.Name, "serviceAccountName is %q", pod.Account)
	p.unless(isFalse(pod.Automount) && isFalse(b.account.Automount), "the pod gets a token of its service account")
	p.unless(isFalse(pod.ServiceLinks), "the pod gets a variable for every service")
	p.unless(pod.Grace >= int(stopTime.Seconds()) && pod.Grace <= 120, "terminationGracePeriodSeconds is %d", pod.Grace)
	p.unless(b.budget.Spec.MaxUnavailable == 1, "the budget lets %d pods go at once", b.budget.Spec.MaxUnavailable)

	sec := pod.Security
	p.unless(sec.NonRoot, "runAsNonRoot is not set")
	p.unless(sec.User > 0 && dockerfileHas(fmt.Sprintf("USER %d:%d", sec.User, sec.Group)), "user %d:%d is not that of the image", sec.User, sec.Group)
	p.unless(sec.FSGroup == sec.Group, "fsGroup is %d: the volume can't be written", sec.FSGroup)
	p.unless(sec.FSGroupChange == "OnRootMismatch", "fsGroupChangePolicy is %q: every start opens the state to the group", sec.FSGroupChange)
	p.unless(sec.Seccomp.Type == "RuntimeDefault", "seccompProfile is %q", sec.Seccomp.Type)

	var spread []string
	for _, c := range pod.Spread {
		spread = append(spread, c.Key+" "+c.When)
		p.unless(c.MaxSkew == 1 && ownLabels(c.Selector.MatchLabels), "%s: the spread is %+v", c.Key, c)
		p.unless(c.When != "DoNotSchedule" || c.NodeTaints == "Honor", "%s: a cordoned node counts as free", c.Key)
	}
	p.unless(slices.Equal(spread, []string{"kubernetes.io/hostname DoNotSchedule", "topology.kubernetes.io/zone ScheduleAnyway"}), "pods are spread by %v", spread)
}

// container checks the process: image, rights, memory, probes.
func (p *problems) container(b *bundle) {
	c := b.set.Spec.Template.Spec.Containers[0]
	images := b.kustomization.Images
	p.unless(c.Image == "segmill" && len(images) == 1 && images[0].Name == c.Image && images[0].NewName == "segmill", "image %q is %+v", c.Image, images)
	if len(images) == 1 {
		log, err := os.ReadFile("../CHANGELOG.md")
		p.unless(err == nil && regexp.MustCompile(`(?m)^## `+regexp.QuoteMeta(images[0].NewTag)+`\s`).Match(log), "the tag %q is no version in the changelog", images[0].NewTag)
	}
	p.unless(isFalse(c.Security.Escalation), "allowPrivilegeEscalation is not false")
	p.unless(c.Security.ReadOnly, "readOnlyRootFilesystem is not true")
	p.unless(slices.Equal(c.Security.Capabilities.Drop, []string{"ALL"}), "capabilities drop %v", c.Security.Capabilities.Drop)

	r := c.Resources
	p.unless(r.Requests["cpu"] != "", "there is no CPU request")
	p.unless(r.Requests["memory"] == r.Limits["memory"], "memory: %s is requested and %s the limit", r.Requests["memory"], r.Limits["memory"])
	_, capped := r.Limits["cpu"]
	p.unless(!capped, "there is a CPU limit, which lets a busy instance lose its session")
	limit, goLimit := byteSize(r.Limits["memory"]), int64(0)
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" {
			n, ok := strings.CutSuffix(e.Value, "B")
			p.unless(ok, "GOMEMLIMIT is %q, which Go does not read", e.Value)
			goLimit = byteSize(n)
		}
	}
	p.unless(limit > 0 && goLimit*100 >= limit*85 && goLimit*100 <= limit*95, "GOMEMLIMIT is %d bytes of %d", goLimit, limit)

	ports := map[string]bool{}
	for _, port := range c.Ports {
		ports[port.Name] = true
		p.unless(dockerfileHas(fmt.Sprintf("EXPOSE %d", port.Port)), "port %d is not exposed by the image", port.Port)
	}
	for _, x := range []struct {
		name, path string
		probe      kubeProbe
		least      int // seconds that it fails before something is done
	}{
		{"startup", "/healthz", c.Startup, 300},
		{"liveness", "/healthz", c.Liveness, 30},
		{"readiness", "/readyz", c.Readiness, 5},
	} {
		p.unless(x.probe.HTTP.Path == x.path && ports[x.probe.HTTP.Port], "%s probe asks for %+v", x.name, x.probe.HTTP)
		p.unless(x.probe.Period*x.probe.Failures >= x.least && x.probe.Timeout >= 3, "%s probe has no patience: %+v", x.name, x.probe)
	}
	p.unless(c.Readiness.Period*c.Readiness.Failures <= 30, "readiness is noticed late: %+v", c.Readiness)
}

// byteSize reads Ki, Mi and Gi; 0 if it is something else.
func byteSize(s string) int64 {
	for i, unit := range []string{"Ki", "Mi", "Gi"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			v, _ := strconv.ParseInt(n, 10, 64) // 0 with an error
			return v << (10 * (i + 1))
		}
	}
	return 0
}

// labels checks that everything that selects pods selects these.
func (p *problems) labels(b *bundle) {
	for what, labels := range map[string]map[string]string{
		"StatefulSet": b.set.Metadata.Labels, "Service": b.service.Metadata.Labels, "ServiceAccount": b.account.Metadata.Labels,
		"PodDisruptionBudget": b.budget.Metadata.Labels, "NetworkPolicy": b.network.Metadata.Labels,
		"the pods": b.set.Spec.Template.Metadata.Labels, "the StatefulSet's selector": b.set.Spec.Selector.MatchLabels,
		"the Service's selector": b.service.Spec.Selector, "the budget's selector": b.budget.Spec.Selector.MatchLabels,
		"the NetworkPolicy's selector": b.network.Spec.Pods.MatchLabels,
	} {
		p.unless(ownLabels(labels), "the labels of %s are %v", what, labels)
	}
	for _, name := range []string{b.set.Metadata.Name, b.service.Metadata.Name, b.account.Metadata.Name, b.budget.Metadata.Name, b.network.Metadata.Name} {
		p.unless(name == "segmill", "something is called %q", name)
	}
}

// volumes checks that each mount has its volume and each volume its mount, and
// that only the state can be written.
func (p *problems) volumes(b *bundle) {
	source := map[string]string{}
	for _, v := range b.set.Spec.Template.Spec.Volumes {
		source[v.Name] = "ConfigMap " + v.ConfigMap.Name
		p.unless(b.maps[v.ConfigMap.Name] != nil, "volume %s: there is no ConfigMap %q", v.Name, v.ConfigMap.Name)
	}
	for _, c := range b.set.Spec.Claims {
		source[c.Metadata.Name] = "claim"
		p.unless(slices.Equal(c.Spec.Modes, []string{"ReadWriteOnce"}), "claim %s: %v", c.Metadata.Name, c.Spec.Modes)
		p.unless(byteSize(c.Spec.Resources.Requests.Storage) > 0, "claim %s: storage %q", c.Metadata.Name, c.Spec.Resources.Requests.Storage)
	}
	p.unless(len(b.set.Spec.Claims) == 1, "there are %d claims", len(b.set.Spec.Claims))
	for _, m := range b.set.Spec.Template.Spec.Containers[0].Mounts {
		p.unless(source[m.Name] != "", "nothing to mount on %s, or mounted twice", m.Path)
		p.unless(m.ReadOnly == (source[m.Name] != "claim"), "%s: readOnly is %v", m.Path, m.ReadOnly)
		delete(source, m.Name)
		for _, other := range b.set.Spec.Template.Spec.Containers[0].Mounts {
			p.unless(!strings.HasPrefix(m.Path, other.Path+"/"), "%s is mounted in %s, which is read-only", m.Path, other.Path)
		}
	}
	p.unless(len(source) == 0, "not mounted: %v", source)
}

// traffic checks that Prometheus finds the port, and that what is let in and out is
// what the configuration needs.
func (p *problems) traffic(b *bundle) {
	c, s, n := b.set.Spec.Template.Spec.Containers[0], b.service.Spec, b.network.Spec
	p.unless(s.ClusterIP == "None" && s.PublishNotReady, "the service is not headless, or hides pods that restore")
	p.unless(len(s.Ports) == 1 && len(c.Ports) == 1 && s.Ports[0].TargetPort == c.Ports[0].Name && s.Ports[0].Port == c.Ports[0].Port, "the service has the ports %+v, the container %+v", s.Ports, c.Ports)
	alerts, err := os.ReadFile("alerts.yml")
	p.unless(err == nil && strings.Contains(string(alerts), fmt.Sprintf("up{job=%q}", b.service.Metadata.Name)), "the alerts ask for another job than %s", b.service.Metadata.Name)

	p.unless(slices.Equal(n.Types, []string{"Ingress", "Egress"}), "the policy is for %v", n.Types)
	open := map[string]bool{} // direction namespace protocol/port
	for direction, rules := range map[string][]kubeTraffic{"in": n.Ingress, "out": n.Egress} {
		for _, r := range rules {
			peers := slices.Concat(r.From, r.To)
			p.unless(len(peers) > 0 && (direction == "in") == (r.To == nil), "%s: a rule for everybody, or for the other direction", direction)
			p.unless(len(r.Ports) > 0, "%s: a rule for every port", direction)
			for _, peer := range peers {
				name := ""
				if peer.Namespaces != nil {
					name = peer.Namespaces.MatchLabels["kubernetes.io/metadata.name"]
				}
				p.unless(name != "", "%s: a rule for every namespace", direction)
				p.unless(name != "kube-system" || peer.Pods != nil && peer.Pods.MatchLabels["k8s-app"] == "kube-dns", "%s: all of %s", direction, name)
				for _, port := range r.Ports {
					open[direction+" "+name+" "+port.Protocol+"/"+port.Port] = true
				}
			}
		}
	}
	want := map[string]bool{"out kube-system UDP/53": true, "out kube-system TCP/53": true}
	for _, port := range c.Ports {
		want["in monitoring TCP/"+port.Name] = true
	}
	if conf, err := app.ParseConfig(b.maps["segmill-config"]["segmill.yaml"], b.lookup); err == nil {
		to := slices.Clone(conf.Kafka.Brokers)
		if u, err := url.Parse(conf.Registry.URL); err == nil {
			to = append(to, u.Host)
		}
		for _, addr := range to {
			host, port, err := net.SplitHostPort(addr)
			labels := strings.Split(host, ".") // service.namespace.svc
			if p.unless(err == nil && len(labels) > 1, "%s has no namespace or port", addr); len(labels) > 1 {
				want["out "+labels[1]+" TCP/"+port] = true
			}
		}
	}
	p.unless(maps.Equal(open, want), "open is %v, needed is %v", slices.Sorted(maps.Keys(open)), slices.Sorted(maps.Keys(want)))
}

// lookup finds the variables that the container is given.
func (b *bundle) lookup(name string) (string, bool) {
	for _, e := range b.set.Spec.Template.Spec.Containers[0].Env {
		if e.Name == name {
			return e.Value + e.From.Secret.Key, true
		}
	}
	return "", false
}

// config checks that the program takes the configuration and the rules, with the
// variables that the pod has and no others.
func (p *problems) config(b *bundle) {
	c := b.set.Spec.Template.Spec.Containers[0]
	text := b.maps["segmill-config"]["segmill.yaml"]
	conf, err := app.ParseConfig(text, b.lookup)
	if err != nil {
		p.unless(false, "configuration: %v", err)
		return
	}
	for _, e := range c.Env {
		secret := e.From.Secret
		switch {
		case e.Name == "GOMEMLIMIT":
			p.unless(secret.Name == "", "GOMEMLIMIT comes from a secret")
		default:
			p.unless(strings.Contains(string(text), `"${`+e.Name+`}"`), "nothing reads %s", e.Name)
			p.unless(e.Value == "" && secret.Name == "segmill-kafka" && secret.Key == "password", "%s is %+v", e.Name, e)
		}
	}
	p.unless(conf.Kafka.TLS != nil && conf.Kafka.SASL != nil && conf.Kafka.SASL.Password == "password", "no TLS, or the password is not that of the environment")
	p.unless(conf.Standby >= 1 && conf.Standby < b.set.Spec.Replicas, "standby is %d", conf.Standby)

	host, port, err := net.SplitHostPort(*conf.HTTP)
	p.unless(err == nil && host == "", "http is %q, which the node can't reach", *conf.HTTP)
	p.unless(len(c.Ports) == 1 && strconv.Itoa(c.Ports[0].Port) == port, "http is %q, the port %+v", *conf.HTTP, c.Ports)

	mounted := map[string]string{}
	for _, m := range c.Mounts {
		mounted[m.Name] = m.Path
	}
	p.unless(mounted["state"] != "" && dockerfileHas("VOLUME "+mounted["state"]), "the state is mounted on %q", mounted["state"])
	p.unless(strings.HasPrefix(path.Clean(conf.State), mounted["state"]+"/"), "state is %q: it must be below the volume, so that it can be renamed", conf.State)
	p.unless(slices.Equal(c.Args, []string{"run", "-c", mounted["config"] + "/segmill.yaml", "--apply"}), "args are %v", c.Args)
	p.unless(len(conf.Rules) == 1 && path.Join(mounted["config"], conf.Rules[0]) == mounted["rules"], "rules are %v and not in %s", conf.Rules, mounted["rules"])

	var files []rule.File
	for name, data := range b.maps["segmill-rules"] {
		files = append(files, rule.File{Name: name, Data: data})
	}
	rules, err := app.CompileRules(files)
	p.unless(err == nil && len(files) > 0, "%d rule files: %v", len(files), err)
	if err == nil {
		p.unless(len(rules.Warnings) == 0, "rules: %v", rules.Warnings)
	}
}
